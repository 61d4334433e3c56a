(() => {
  "use strict";
  const meta = JSON.parse(document.getElementById("meta").textContent);
  const find = (id) => document.getElementById(id);
  const map = find("map");
  if (!map || !meta.layers.length) return;
  const canvas = find("canvas"), context = canvas.getContext("2d"), select = find("layer"), readout = find("readout");
  const grid = meta.grid, view = { scale: 1, x: 0, y: 0 }, cache = new Map();
  const tall = grid.cellHeight; // height of a cell in widths of a cell: not 1 on a geographic grid
  let current = 0, width = 0, height = 0, loaded = null, spot = null, pending = 0, touched = false;

  // ---- values -------------------------------------------------------------------------------------------------
  const TYPES = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array };

  async function values(index) {
    if (cache.has(index)) return cache.get(index);
    const layer = meta.layers[index];
    const packed = Uint8Array.from(atob(find("data-" + index).textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const shuffled = new Uint8Array(await new Response(stream).arrayBuffer());
    const Type = TYPES[layer.dtype], size = Type.BYTES_PER_ELEMENT, count = shuffled.length / size;
    const bytes = new Uint8Array(shuffled.length);
    for (let b = 0; b < size; b++) for (let i = 0; i < count; i++) bytes[i * size + b] = shuffled[b * count + i];
    const cells = new Type(bytes.buffer);
    const picture = { cells, image: paint(layer, cells) };
    cache.set(index, picture);
    return picture;
  }

  function paint(layer, cells) {
    const image = document.createElement("canvas");
    image.width = grid.columns;
    image.height = grid.rows;
    const brush = image.getContext("2d"), data = brush.createImageData(grid.columns, grid.rows);
    const pixels = new Uint32Array(data.data.buffer);
    if (layer.classes) {
      const colours = new Map(layer.classes.map((c) => [c.code, pack(c.colour)]));
      for (let i = 0; i < cells.length; i++) pixels[i] = colours.get(cells[i]) ?? 0;
    } else {
      const table = layer.colours.match(/.{6}/g).map((hex) => pack("#" + hex)), last = table.length - 1;
      const low = layer.log ? Math.log(layer.low) : layer.low, high = layer.log ? Math.log(layer.high) : layer.high;
      const factor = (last + 1) / (high - low);
      for (let i = 0; i < cells.length; i++) {
        const value = layer.log ? Math.log(cells[i]) : cells[i];
        if (value === value && cells[i] === cells[i] && !(layer.log && cells[i] <= 0)) {
          pixels[i] = table[Math.max(0, Math.min(last, Math.floor((value - low) * factor)))];
        }
      }
    }
    brush.putImageData(data, 0, 0);
    return image;
  }

  function pack(colour) {
    const n = parseInt(colour.slice(1), 16);
    return (255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16);
  }

  // ---- view ---------------------------------------------------------------------------------------------------
  const fitting = () => Math.min(width / grid.columns, height / (grid.rows * tall)) * 0.97;

  function showAll() {
    view.scale = fitting();
    view.x = (width - grid.columns * view.scale) / 2;
    view.y = (height - grid.rows * tall * view.scale) / 2;
    touched = false;
    redraw();
  }

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = Math.max(Math.min(fitting(), 40), Math.min(view.scale * factor, Math.max(40, fitting() * 2)));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    touched = true;
    limitView();
    redraw();
  }

  function limitView() { // keep the middle of the view on the map
    const w = grid.columns * view.scale, h = grid.rows * tall * view.scale;
    view.x = Math.min(width / 2, Math.max(width / 2 - w, view.x));
    view.y = Math.min(height / 2, Math.max(height / 2 - h, view.y));
  }

  function redraw() {
    if (!pending) pending = requestAnimationFrame(draw);
  }

  function draw() {
    pending = 0;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    if (loaded) context.drawImage(loaded.image, view.x, view.y, grid.columns * view.scale, grid.rows * tall * view.scale);
    Object.assign(map.dataset, { x: view.x, y: view.y, scale: view.scale, tall });
    bar();
    cross();
  }

  function bar() {
    const metres = grid.cellMetres / view.scale, longest = Math.min(160, width / 3) * metres;
    const power = 10 ** Math.floor(Math.log10(longest)), length = [5, 2, 1].find((n) => n * power <= longest) * power;
    const scale = find("scale");
    scale.querySelector("span").textContent = length >= 1000 ? length / 1000 + " km" : length + " m";
    scale.querySelector("i").style.width = length / metres + "px";
  }

  function cross() {
    const mark = find("cross");
    mark.hidden = !spot;
    if (!spot) return;
    mark.style.left = view.x + (spot.column + 0.5) * view.scale + "px";
    mark.style.top = view.y + (spot.row + 0.5) * tall * view.scale + "px";
  }

  // ---- reading ------------------------------------------------------------------------------------------------
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

  function describe(cell) {
    const layer = meta.layers[current], value = loaded.cells[cell.row * grid.columns + cell.column];
    if (layer.classes) {
      const entry = layer.classes.find((c) => c.code === value);
      return { value: entry ? String(value) : "NaN", text: entry ? entry.name : "no value" };
    }
    if (Number.isNaN(value)) return { value: "NaN", text: "no value" };
    return { value: String(value), text: shortest(value) + (layer.unit ? " " + layer.unit : "") };
  }

  function read(cell, aloud) {
    if (!loaded || !inside(cell)) {
      readout.textContent = "Outside the map.";
      delete readout.dataset.value;
      return;
    }
    const layer = meta.layers[current], reading = describe(cell);
    const x = grid.left + (cell.column * grid.step + grid.first + 0.5) * grid.dx;
    const y = grid.top - (cell.row * grid.step + grid.first + 0.5) * grid.dy;
    const place = [lonlat(cell), `${grid.xName} ${x.toFixed(grid.places)}, ${grid.yName} ${y.toFixed(grid.places)} ${grid.unit}`];
    const strong = document.createElement("b"), small = document.createElement("small");
    strong.textContent = reading.text;
    small.textContent = `${layer.title}; ${place.filter(Boolean).join("; ")}`;
    readout.replaceChildren(strong, small);
    Object.assign(readout.dataset, { value: reading.value, row: cell.row, column: cell.column, layer: layer.name });
    if (aloud) find("status").textContent = `${layer.title}: ${reading.text}. ${place[0] || place[1]}`;
  }

  // ---- layers -------------------------------------------------------------------------------------------------
  async function show(index) {
    current = (index + meta.layers.length) % meta.layers.length;
    select.value = String(current);
    const layer = meta.layers[current];
    map.setAttribute("aria-label", "Map of " + layer.title);
    map.dataset.layer = "";
    legend(layer);
    try {
      const requested = current, picture = await values(current);
      if (requested !== current) return;
      loaded = picture;
    } catch (error) {
      readout.textContent = "This browser cannot unpack the values (it needs DecompressionStream); the pictures below show the maps.";
      return;
    }
    map.dataset.layer = layer.name;
    if (spot) read(spot, false);
    redraw();
  }

  function element(tag, text, more = {}) {
    const node = Object.assign(document.createElement(tag), more);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function legend(layer) {
    const parts = [element("h3", layer.title)];
    if (layer.classes) {
      const list = element("ul", undefined, { className: "classes" });
      for (const c of layer.classes.filter((c) => c.share !== "")) {
        const item = element("li"), swatch = element("i");
        swatch.style.background = c.colour;
        item.append(swatch, c.name, element("span", c.share));
        list.append(item);
      }
      parts.push(list);
    } else if (layer.ticks) {
      const holder = element("div", undefined, { className: "bar" }), strip = element("i"), ticks = element("ol");
      const stops = layer.colours.match(/.{6}/g).filter((_, i) => i % 8 === 0 || i === 255).map((h) => "#" + h).join(",");
      strip.style.background = `linear-gradient(to top, ${stops})`;
      strip.style.setProperty("--across", `linear-gradient(to right, ${stops})`);
      layer.ticks.forEach((t) => ticks.append(element("li", t)));
      holder.append(strip, ticks);
      parts.push(holder, element("p", (layer.unit ? "Unit: " + layer.unit : "No unit") + (layer.log ? "; logarithmic scale" : "")));
    }
    for (const line of layer.lines) parts.push(element("p", line));
    find("legend").replaceChildren(...parts);
  }

  // ---- input --------------------------------------------------------------------------------------------------
  const fingers = new Map();
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  let moved = 0;

  map.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    map.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    moved = 0;
  });
  map.addEventListener("pointermove", (event) => {
    const to = at(event), from = fingers.get(event.pointerId);
    if (!from) {
      if (event.pointerType === "mouse") {
        spot = null;
        read(cellAt(to.x, to.y), false);
        cross();
      }
      return;
    }
    if (fingers.size === 2) {
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(from.x - other.x, from.y - other.y), now = Math.hypot(to.x - other.x, to.y - other.y);
      if (before > 0) zoom(now / before, (to.x + other.x) / 2, (to.y + other.y) / 2);
    }
    const share = fingers.size === 2 ? 0.5 : 1;
    view.x += (to.x - from.x) * share;
    view.y += (to.y - from.y) * share;
    moved += Math.hypot(to.x - from.x, to.y - from.y);
    touched = true;
    fingers.set(event.pointerId, to);
    limitView();
    redraw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    map.addEventListener(end, (event) => {
      const last = fingers.get(event.pointerId);
      fingers.delete(event.pointerId);
      if (end === "pointerup" && last && moved < 6 && !fingers.size) {
        const cell = cellAt(last.x, last.y);
        spot = inside(cell) ? cell : null;
        read(cell, true);
        cross();
      }
    });
  }
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const place = at(event), pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    zoom(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 300), place.x, place.y);
    if (!spot) read(cellAt(place.x, place.y), false);
  }, { passive: false });
  map.addEventListener("dblclick", (event) => zoom(2, at(event).x, at(event).y));
  map.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-step, 0], ArrowDown: [step, 0] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) {
      const from = spot || cellAt(width / 2, height / 2), [down, right] = moves[event.key];
      spot = {
        row: Math.max(0, Math.min(grid.rows - 1, from.row + (spot ? down : 0))),
        column: Math.max(0, Math.min(grid.columns - 1, from.column + (spot ? right : 0))),
      };
      const x = view.x + (spot.column + 0.5) * view.scale, y = view.y + (spot.row + 0.5) * tall * view.scale;
      const edge = 24; // pixels: the map moves when the cross is near its frame
      if (x < edge) view.x += edge - x; else if (x > width - edge) view.x -= x - width + edge;
      if (y < edge) view.y += edge - y; else if (y > height - edge) view.y -= y - height + edge;
      read(spot, true);
      redraw();
    } else if (event.key === "+" || event.key === "=" || event.key === "-" || event.key === "_") {
      const focus = spot && { x: view.x + (spot.column + 0.5) * view.scale, y: view.y + (spot.row + 0.5) * tall * view.scale };
      zoom(event.key === "+" || event.key === "=" ? 1.5 : 1 / 1.5, focus ? focus.x : undefined, focus ? focus.y : undefined);
    } else if (event.key === "0" || event.key === "Home") showAll();
    else return;
    event.preventDefault();
  });
  find("in").addEventListener("click", () => zoom(1.5));
  find("out").addEventListener("click", () => zoom(1 / 1.5));
  find("reset").addEventListener("click", showAll);
  find("before").addEventListener("click", () => show(current - 1));
  find("after").addEventListener("click", () => show(current + 1));
  select.addEventListener("change", () => show(Number(select.value)));

  new ResizeObserver(() => {
    const box = map.getBoundingClientRect(), first = !width;
    const old = { w: width, h: height };
    width = box.width - 2;
    height = box.height - 2;
    if (first || !touched) showAll();
    else {
      view.x += (width - old.w) / 2;
      view.y += (height - old.h) / 2;
      limitView();
      redraw();
    }
  }).observe(map);
  show(0);
})();
