// The map: its state, its view and what is drawn.
const meta = JSON.parse(document.getElementById("meta").textContent);
const find = (id) => document.getElementById(id);
const map = find("map"), canvas = find("canvas"), context = canvas.getContext("2d");
const select = find("layer"), second = find("second"), readout = find("readout");
const grid = meta.grid, view = { scale: 1, x: 0, y: 0 };
const tall = grid.cellHeight; // height of a cell in widths of a cell: not 1 on a geographic grid
let current = 0, width = 0, height = 0, loaded = null, spot = null, pending = 0, touched = false;
let other = -1, otherLoaded = null, line = [], drawing = false;

const fitting = () => Math.min(width / grid.columns, height / (grid.rows * tall)) * 0.97;
const checked = (id) => find(id).checked;

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

// Lines in widths of a cell, so that a stroke is equally wide in both directions.
const paths = {};
function pathOf(kind, closed) {
  if (!paths[kind]) {
    const path = (paths[kind] = new Path2D());
    for (const part of meta.geo[kind]) {
      for (let i = 0; i < part.length; i += 2) path[i ? "lineTo" : "moveTo"](part[i], part[i + 1] * tall);
      if (closed) path.closePath();
    }
  }
  return paths[kind];
}

function draw() {
  pending = 0;
  const ratio = window.devicePixelRatio || 1, w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const toScreen = () => context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const toCells = () => context.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  toScreen();
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  const frame = [view.x, view.y, grid.columns * view.scale, grid.rows * tall * view.scale];
  context.save();
  context.beginPath();
  context.rect(...frame);
  context.clip();
  context.fillStyle = meta.geo ? meta.style.water : meta.style.land;
  context.fillRect(...frame);
  if (meta.geo) {
    toCells();
    context.fillStyle = meta.style.land;
    context.fill(pathOf("land", true));
    context.fillStyle = meta.style.water;
    context.fill(pathOf("lakes", true));
    toScreen();
  }
  const divider = otherLoaded ? (width * Number(find("swipe").value)) / 100 : width;
  for (const [picture, index, from, to] of [[loaded, current, 0, divider], [otherLoaded, other, divider, width]]) {
    if (!picture || from >= to) continue;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    context.drawImage(picture.image, ...frame);
    if (picture.outside && checked("hatch")) hatching(picture.outside, frame, ratio);
    if (checked("samples")) drawPoints(index);
    context.restore();
  }
  if (meta.geo && checked("context")) drawContext(toCells, toScreen, frame);
  context.restore();
  toScreen();
  if (otherLoaded) {
    context.fillStyle = "#fff";
    context.fillRect(divider - 2, 0, 4, height);
    context.fillStyle = meta.style.ink;
    context.fillRect(divider - 1, 0, 2, height);
  }
  drawLine();
  Object.assign(map.dataset, { x: view.x, y: view.y, scale: view.scale, tall });
  bar();
  cross();
  remember();
}

function drawContext(toCells, toScreen, frame) {
  toCells();
  const stroke = (kind, colour, wide, dash) => {
    context.strokeStyle = colour;
    context.lineWidth = wide / view.scale;
    context.setLineDash((dash || []).map((n) => n / view.scale));
    context.stroke(pathOf(kind));
  };
  stroke("net", "rgba(70,70,70,.28)", 0.7);
  stroke("rivers", meta.style.river, 0.8);
  stroke("coast", meta.style.coast, 0.9);
  stroke("borders", meta.style.border, 1.1, [5, 2.5]);
  context.setLineDash([]);
  toScreen();
  context.font = "11px system-ui, sans-serif";
  const label = (text, x, y, colour) => {
    context.lineWidth = 3;
    context.strokeStyle = "rgba(255,255,255,.85)";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  };
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  const right = frame[0] + frame[2], bottom = frame[1] + frame[3];
  if (bottom <= height + 1) for (const [at, text] of meta.geo.below) label(text, frame[0] + at * view.scale, bottom - 4, meta.style.quiet);
  context.textAlign = "left";
  context.textBaseline = "middle";
  if (frame[0] >= -1) for (const [at, text] of meta.geo.beside) label(text, frame[0] + 4, frame[1] + at * tall * view.scale, meta.style.quiet);
  const taken = [];
  for (const [name, column, row] of meta.geo.cities) {
    const x = view.x + column * view.scale, y = view.y + row * tall * view.scale, long = context.measureText(name).width + 8;
    const box = [x - 4, y - 7, x + long, y + 7];
    if (x < 2 || y < 8 || box[2] > Math.min(width, right) || y > Math.min(height, bottom) - 16) continue;
    if (taken.some((t) => t[0] < box[2] && box[0] < t[2] && t[1] < box[3] && box[1] < t[3])) continue;
    taken.push(box);
    context.beginPath();
    context.arc(x, y, 2.3, 0, 7);
    context.fillStyle = meta.style.ink;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = "#fff";
    context.stroke();
    label(name, x + 5, y, meta.style.ink);
    if (taken.length === 14) break;
  }
}

// Diagonal lines where a mask of cells is set.
let veil = null;
function hatching(mask, frame, ratio) {
  veil = veil || document.createElement("canvas");
  Object.assign(veil, { width: canvas.width, height: canvas.height });
  const brush = veil.getContext("2d");
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.beginPath();
  for (let x = -height; x < width; x += 8) {
    brush.moveTo(x, height);
    brush.lineTo(x + height, 0);
  }
  brush.lineWidth = 2.6;
  brush.strokeStyle = "rgba(255,255,255,.75)";
  brush.stroke();
  brush.lineWidth = 1.1;
  brush.strokeStyle = meta.style.ink;
  brush.stroke();
  brush.globalCompositeOperation = "destination-in";
  brush.imageSmoothingEnabled = false;
  brush.drawImage(mask, ...frame);
  context.drawImage(veil, 0, 0, width, height);
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

async function show(index) {
  current = (index + meta.layers.length) % meta.layers.length;
  select.value = String(current);
  const layer = meta.layers[current];
  map.setAttribute("aria-label", "Map of " + layer.title);
  map.dataset.layer = "";
  try {
    const requested = current, picture = await values(current);
    if (requested !== current) return;
    loaded = picture;
  } catch (error) {
    readout.textContent = "This browser cannot unpack the values (it needs DecompressionStream); the pictures below show the maps.";
    return;
  }
  legend(layer);
  find("samples-label").hidden = !pointsOf(current);
  find("hatch-label").hidden = !loaded.outside && !(otherLoaded && otherLoaded.outside);
  map.dataset.layer = layer.name;
  if (spot) read(spot, false);
  redraw();
}
