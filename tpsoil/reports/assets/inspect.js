// Reading: the value under the pointer, all layers at a point, the legend with its histogram, sample points.
const cellAt = (x, y) => ({
  column: Math.floor((x - view.x) / view.scale), row: Math.floor((y - view.y) / (view.scale * tall)),
});
const inside = (c) => c.row >= 0 && c.column >= 0 && c.row < grid.rows && c.column < grid.columns;

function shortest(value) { // shortest decimal text that identifies this float32
  for (let digits = 1; digits < 10; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(value);
}

function rounded(value) { // three significant digits, never fewer than the integer part
  if (value === 0) return "0";
  return Math.abs(value) >= 1000 && Math.abs(value) < 1e7 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function lonlat(cell) {
  const g = meta.lonlat;
  if (!g) return "";
  const v = ((cell.row + 0.5) / grid.rows) * (g.n - 1), u = ((cell.column + 0.5) / grid.columns) * (g.n - 1);
  const i = Math.min(g.n - 2, Math.floor(v)), j = Math.min(g.n - 2, Math.floor(u)), a = v - i, b = u - j;
  const at = (t) => (1 - a) * ((1 - b) * t[i * g.n + j] + b * t[i * g.n + j + 1])
    + a * ((1 - b) * t[(i + 1) * g.n + j] + b * t[(i + 1) * g.n + j + 1]);
  const lon = at(g.lon), lat = at(g.lat);
  return `${Math.abs(lat).toFixed(2)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(2)}° ${lon < 0 ? "W" : "E"}`;
}

function placeOf(cell) {
  const x = grid.left + (cell.column * grid.step + grid.first + 0.5) * grid.dx;
  const y = grid.top - (cell.row * grid.step + grid.first + 0.5) * grid.dy;
  const own = `${grid.xName} ${x.toFixed(grid.places)}, ${grid.yName} ${y.toFixed(grid.places)} ${grid.unit}`;
  return [lonlat(cell), own].filter(Boolean);
}

function describe(index, cells, cell) {
  const layer = meta.layers[index], at = cell.row * grid.columns + cell.column, value = cells[at];
  const none = () => ({ value: "NaN", text: "no value", why: meta.ground[groundCells[at]].name });
  if (layer.classes) {
    const entry = layer.classes.find((c) => c.code === value);
    return entry ? { value: String(value), text: entry.name } : none();
  }
  if (Number.isNaN(value)) return none();
  const text = layer.dtype === "steps" ? String(Number(value.toPrecision(4))) : shortest(value);
  return { value: String(value), text: text + (layer.unit ? " " + layer.unit : "") };
}

function read(cell, aloud) {
  mark(null);
  if (!loaded || !inside(cell)) {
    readout.textContent = "Outside the map.";
    delete readout.dataset.value;
    return;
  }
  const layer = meta.layers[current], reading = describe(current, loaded.cells, cell), place = placeOf(cell);
  const strong = element("b", reading.text), small = document.createElement("small");
  let text = layer.title + (reading.why ? " (" + reading.why + ")" : "");
  if (otherLoaded) text += "; " + meta.layers[other].title + ": " + describe(other, otherLoaded.cells, cell).text;
  small.textContent = [text, ...place].join("; ");
  readout.replaceChildren(strong, small);
  Object.assign(readout.dataset, { value: reading.value, row: cell.row, column: cell.column, layer: layer.name });
  if (!layer.classes) mark(Number(reading.value));
  if (aloud) find("status").textContent = `${layer.title}: ${reading.text}. ${place[0]}`;
}

function element(tag, text, more = {}) {
  const node = Object.assign(document.createElement(tag), more);
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- all layers at a point ----
async function inspect(cell) {
  const holder = find("point");
  if (!inside(cell)) {
    holder.hidden = true;
    return;
  }
  const table = element("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const text of ["quantity", "value", "interval", "applicability"]) head.append(element("th", text, { scope: "col" }));
  const described = new Set(meta.layers.flatMap((l) => Object.entries(l.companions || {}).filter(([end]) => end !== "dissimilarity").map(([, i]) => i)));
  for (let index = 0; index < meta.layers.length; index++) {
    if (described.has(index)) continue;
    const layer = meta.layers[index], own = layer.companions || {};
    const text = async (i) => describe(i, (await values(i)).cells, cell);
    const value = await text(index), row = body.insertRow();
    row.append(element("th", layer.title, { scope: "row" }));
    row.insertCell().textContent = value.text + (value.why ? ": " + value.why : "");
    let interval = "–", inArea = "–";
    if (value.value !== "NaN" && own.lower !== undefined && own.upper !== undefined) {
      const [low, high] = [await text(own.lower), await text(own.upper)].map((r) => rounded(Number(r.value)));
      interval = `${low} to ${high}${layer.unit ? " " + layer.unit : ""}`;
    } else if (value.value !== "NaN" && own.sd !== undefined) {
      interval = "± " + rounded(Number((await text(own.sd)).value)) + (layer.unit ? " " + layer.unit : "") + ", spread";
    }
    if (value.value !== "NaN" && own.applicability !== undefined) inArea = (await text(own.applicability)).text;
    row.insertCell().textContent = interval;
    row.insertCell().textContent = inArea;
  }
  for (const [name, points] of Object.entries(meta.points || {})) {
    const near = nearest(points, cell);
    if (near < 0) continue;
    const layer = meta.layers.find((l) => l.name === name), row = body.insertRow();
    row.append(element("th", "Sample of " + (layer ? layer.title.toLowerCase() : name), { scope: "row" }));
    row.insertCell().textContent = points.values[near] + (layer && layer.unit ? " " + layer.unit : "");
    row.insertCell().textContent = row.insertCell().textContent = "–";
  }
  const close = element("button", "Close", { type: "button", className: "close" });
  close.addEventListener("click", () => { holder.hidden = true; map.focus(); });
  const scroll = element("div", undefined, { className: "scroll", tabIndex: 0 });
  scroll.append(table);
  const top = element("p");
  top.append(element("strong", "All layers at " + placeOf(cell)[0]), " ", close);
  holder.replaceChildren(top, scroll);
  holder.hidden = false;
}

// ---- sample points ----
const pointsOf = (index) => (meta.points || {})[meta.layers[baseOf(index)].name];

function nearest(points, cell) {
  let best = -1, least = Math.max(1, 8 / view.scale);
  for (let i = 0; i < points.values.length; i++) {
    const far = Math.hypot(points.at[2 * i] - cell.column - 0.5, points.at[2 * i + 1] - cell.row - 0.5);
    if (far < least) [best, least] = [i, far];
  }
  return best;
}

function drawPoints(index) {
  const points = pointsOf(index), layer = meta.layers[baseOf(index)];
  if (!points || layer.classes) return;
  const table = tableOf(layer);
  for (let i = 0; i < points.values.length; i++) {
    const x = view.x + points.at[2 * i] * view.scale, y = view.y + points.at[2 * i + 1] * tall * view.scale;
    if (x < -5 || y < -5 || x > width + 5 || y > height + 5) continue;
    context.beginPath();
    context.arc(x, y, 3.4, 0, 7);
    context.fillStyle = index === baseOf(index) ? table[clamp(position(layer, points.values[i]))] : "#fff";
    context.fill();
    context.lineWidth = 1.1;
    context.strokeStyle = meta.style.ink;
    context.stroke();
  }
}

// ---- legend ----
function swatches(entries) {
  const list = element("ul", undefined, { className: "classes" });
  for (const [colour, name, share, hatched] of entries) {
    const item = element("li"), swatch = element("i");
    swatch.style.background = colour;
    if (hatched) swatch.className = "hatched";
    item.append(swatch, name, element("span", share || ""));
    list.append(item);
  }
  return list;
}

function scaleOf(layer, withCounts) { // colour bar with ticks, or classes
  if (layer.classes) return [swatches(layer.classes.filter((c) => c.share !== "").map((c) => [c.colour, c.name, c.share]))];
  if (!layer.ticks || !layer.ticks.length) return [];
  const holder = element("div", undefined, { className: "bar" }), strip = element("i"), ticks = element("ol");
  const table = tableOf(layer);
  const stops = layer.breaks ? table.map((c, i) => `${c} ${(100 * i) / 256}% ${(100 * (i + 1)) / 256}%`) : table.filter((_, i) => i % 8 === 0 || i === 255);
  strip.style.background = `linear-gradient(to top, ${stops.join(",")})`;
  strip.style.setProperty("--across", `linear-gradient(to right, ${stops.join(",")})`);
  layer.ticks.forEach((text, i) => { // from the high end down
    const n = layer.ticks.length, share = layer.breaks ? (n - i) / (n + 1) : (n - 1 - i) / (n - 1);
    const item = element("li", text);
    item.style.setProperty("--at", 100 * share + "%");
    ticks.append(item);
  });
  if (withCounts) {
    const counts = element("canvas", undefined, { id: "counts", width: 112, height: 416 });
    counts.setAttribute("role", "img");
    counts.setAttribute("aria-label", "Histogram of the cells shown");
    holder.append(counts);
  }
  holder.append(strip, ticks);
  return [holder, element("p", (layer.unit ? "Unit: " + layer.unit : "No unit") + (layer.log ? "; logarithmic scale" : layer.breaks ? "; classes by quantiles" : ""))];
}

function legend(layer) {
  const parts = [element("h3", layer.title), ...scaleOf(layer, true)];
  if (otherLoaded) parts.push(element("h3", "Right of the divider: " + meta.layers[other].title), ...scaleOf(meta.layers[other], false));
  const entries = [], present = new Set();
  for (let i = 0; i < loaded.cells.length; i++) if (!hasValue(layer, loaded.cells[i])) present.add(groundCells[i]);
  for (const g of meta.ground) if (present.has(g.code)) entries.push([g.colour, g.name]);
  if (loaded.outside) {
    let total = 0;
    for (const value of loaded.cells) if (hasValue(layer, value)) total++;
    entries.push(["#fff", meta.hatch, Math.round((100 * loaded.outsideShare) / total) + " %", true]);
  }
  if (entries.length) parts.push(element("h4", "No value, or with reserve"), swatches(entries));
  for (const text of layer.lines) parts.push(element("p", text));
  find("legend").replaceChildren(...parts);
  mark(null);
}

function mark(value) { // the histogram beside the colour bar, with the value under the pointer
  const counts = find("counts");
  if (!counts || !loaded || !loaded.counts) return;
  const across = window.matchMedia("(max-width: 56rem)").matches, brush = counts.getContext("2d");
  Object.assign(counts, across ? { width: 640, height: 80 } : { width: 112, height: 416 });
  const most = Math.max(...loaded.counts, 1), style = getComputedStyle(counts), long = across ? counts.width : counts.height;
  brush.fillStyle = style.color;
  loaded.counts.forEach((n, i) => {
    const size = Math.sqrt(n / most), a = (i / BINS) * long, b = long / BINS - 1;
    if (across) brush.fillRect(a, 80 * (1 - size), b, 80 * size);
    else brush.fillRect(112 * (1 - size), long - a - b, 112 * size, b);
  });
  counts.dataset.value = "";
  if (value === null || Number.isNaN(value)) return;
  const at = Math.max(0, Math.min(1, position(meta.layers[current], value))) * long;
  brush.fillStyle = style.borderTopColor;
  if (across) brush.fillRect(at - 2, 0, 4, 80); else brush.fillRect(0, long - at - 2, 112, 4);
  counts.dataset.value = String(value);
}
