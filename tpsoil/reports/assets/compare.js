// Two layers side by side, and transects.
async function compare(index) {
  other = index;
  second.value = index < 0 ? "" : String(index);
  otherLoaded = index < 0 ? null : await values(index);
  find("swipe-label").hidden = index < 0;
  map.dataset.second = index < 0 ? "" : meta.layers[index].name;
  if (loaded) legend(meta.layers[current]);
  if (line.length === 2) profile();
  redraw();
}

function setEnd(cell) {
  if (!inside(cell)) return;
  line = line.length === 2 ? [cell] : [...line, cell];
  find("status").textContent = line.length === 1 ? "Start of the transect is set; set its end." : "Transect drawn.";
  if (line.length === 2) {
    stopDrawing();
    profile();
  }
  redraw();
}

function stopDrawing() {
  drawing = false;
  nameButton(line.length === 2 ? "Draw another transect" : "Draw a transect");
}

function nameButton(text) {
  const button = find("transect");
  button.textContent = text;
  button.setAttribute("aria-label", text);
  button.setAttribute("aria-pressed", String(drawing));
}

function startDrawing() {
  drawing = !drawing;
  line = [];
  nameButton(drawing ? "Click start and end" : "Draw a transect");
  find("profile").hidden = true;
  redraw();
}

function drawLine() {
  if (!line.length) return;
  const on = line.map((c) => [view.x + (c.column + 0.5) * view.scale, view.y + (c.row + 0.5) * tall * view.scale]);
  for (const [colour, wide] of [["#fff", 5], ["#d0021b", 2.4]]) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = wide;
    context.beginPath();
    on.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x, y));
    context.stroke();
    for (const [x, y] of on) {
      context.beginPath();
      context.arc(x, y, wide + 1, 0, 7);
      context.fill();
    }
  }
}

function roundTicks(low, high, count) { // multiples of 1, 2 or 5 times a power of ten
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough), ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9) + 1e-300; n++) ticks.push(Number((n * step).toPrecision(6)));
  return ticks;
}

const chosen = new Set();
async function profile() {
  const [a, b] = line, holder = find("profile"), n = 240;
  const far = (Math.hypot(b.column - a.column, (b.row - a.row) * tall) * grid.cellMetres) / 1000;
  const wanted = [...new Set([current, ...(other >= 0 ? [other] : []), ...chosen])];
  const charts = [];
  for (const index of wanted) {
    const layer = meta.layers[index], own = layer.companions || {}, cells = (await values(index)).cells;
    const along = (from) => Array.from({ length: n }, (_, i) => {
      const row = Math.round(a.row + ((b.row - a.row) * i) / (n - 1)), column = Math.round(a.column + ((b.column - a.column) * i) / (n - 1));
      return from[row * grid.columns + column];
    });
    const middle = along(cells);
    let low = null, high = null;
    if (own.lower !== undefined && own.upper !== undefined) {
      low = along((await values(own.lower)).cells);
      high = along((await values(own.upper)).cells);
    } else if (own.sd !== undefined) {
      const sd = along((await values(own.sd)).cells);
      low = middle.map((v, i) => v - sd[i]);
      high = middle.map((v, i) => v + sd[i]);
    }
    charts.push(chart(layer, middle, low, high, far));
  }
  const more = element("details"), box = element("div", undefined, { className: "checks tools" });
  more.append(element("summary", "Layers of the transect"), box);
  meta.layers.forEach((layer, i) => {
    if (wanted.slice(0, other >= 0 ? 2 : 1).includes(i)) return;
    const label = element("label"), input = element("input", undefined, { type: "checkbox", checked: chosen.has(i) });
    input.addEventListener("change", () => { chosen[input.checked ? "add" : "delete"](i); profile(); });
    label.append(input, " " + layer.title);
    box.append(label);
  });
  more.open = chosen.size > 0;
  const ends = line.map((c) => placeOf(c)[0]);
  holder.replaceChildren(element("p", `Transect of ${rounded(far)} km, from ${ends[0]} to ${ends[1]}`), ...charts, more);
  holder.hidden = false;
}

function chart(layer, middle, low, high, far) {
  const W = 640, H = 150, left = 62, right = 10, top = 22, bottom = 26;
  const svg = document.importNode(document.createRange().createContextualFragment("<svg></svg>").firstChild, true), NS = svg.namespaceURI;
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Transect of " + layer.title);
  const add = (tag, attributes, text) => {
    const node = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    svg.append(node);
  };
  const x = (i) => left + ((W - left - right) * i) / (middle.length - 1);
  add("text", { x: left, y: 14, "font-weight": 600 }, layer.title + (layer.unit ? ", " + layer.unit : ""));
  if (layer.classes) {
    middle.forEach((code, i) => {
      const entry = layer.classes.find((c) => c.code === code);
      if (entry) add("rect", { x: x(i) - 1.3, y: top + 20, width: 3, height: 40, fill: entry.colour });
    });
    const names = [...new Set(middle)].map((code) => layer.classes.find((c) => c.code === code)).filter(Boolean);
    add("text", { x: left, y: top + 82 }, names.map((c) => c.name).join(", "));
  } else {
    const numbers = [...middle, ...(low || []), ...(high || [])].filter((v) => v === v);
    const least = Math.min(...numbers), most = Math.max(...numbers), span = most - least || Math.abs(most) || 1;
    const y = (v) => top + (H - top - bottom) * (1 - (v - least) / span);
    const runs = [];
    middle.forEach((v, i) => { if (v === v) (i && middle[i - 1] === middle[i - 1] && runs.length ? runs[runs.length - 1] : runs[runs.push([]) - 1]).push(i); });
    for (const run of runs) {
      if (low) add("path", { d: "M" + run.map((i) => `${x(i)},${y(high[i])}`).join("L") + "L" + [...run].reverse().map((i) => `${x(i)},${y(low[i])}`).join("L") + "Z", class: "band" });
      add("path", { d: "M" + run.map((i) => `${x(i).toFixed(1)},${y(middle[i]).toFixed(1)}`).join("L"), class: "curve" });
    }
    if (numbers.length) for (const v of roundTicks(least, most > least ? most : least + span, 3)) {
      add("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, rounded(v));
      add("path", { d: `M${left - 3},${y(v)}H${W - right}`, class: "rule" });
    } else add("text", { x: left, y: H / 2 }, "no value along the line");
  }
  for (const km of far > 0 ? roundTicks(0, far, 4) : []) {
    add("text", { x: left + ((W - left - right) * km) / far, y: H - 8, "text-anchor": km > 0.95 * far ? "end" : "middle" }, rounded(km) + " km");
  }
  return svg;
}
