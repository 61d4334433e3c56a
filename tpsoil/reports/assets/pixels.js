// Values of the cells, and their colours.
const TYPES = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array, steps: Uint16Array };
const cache = new Map();
let groundCells = null;

async function unpack(id, dtype) {
  const packed = Uint8Array.from(atob(find(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const shuffled = new Uint8Array(await new Response(stream).arrayBuffer());
  const Type = TYPES[dtype], size = Type.BYTES_PER_ELEMENT, count = shuffled.length / size;
  const bytes = new Uint8Array(shuffled.length);
  for (let b = 0; b < size; b++) for (let i = 0; i < count; i++) bytes[i * size + b] = shuffled[b * count + i];
  return new Type(bytes.buffer);
}

function fromSteps(codes, packing) {
  const cells = new Float32Array(codes.length);
  for (let row = 0, i = 0; row < grid.rows; row++) {
    for (let column = 0, code = 0; column < grid.columns; column++, i++) {
      code = (code + codes[i]) & 65535;
      const value = packing.from + (code - 1) * packing.step;
      cells[i] = code === 0 ? NaN : packing.log ? Math.exp(value) : value;
    }
  }
  return cells;
}

async function cellsOf(index) {
  const layer = meta.layers[index], raw = await unpack("data-" + index, layer.dtype);
  return layer.dtype === "steps" ? fromSteps(raw, layer.packing) : raw;
}

async function values(index) {
  if (cache.has(index)) return cache.get(index);
  const layer = meta.layers[index];
  groundCells = groundCells || await unpack("data-ground", "uint8");
  const cells = await cellsOf(index), picture = { cells, image: paint(layer, cells) };
  picture.counts = histogram(layer, cells);
  const flag = applicabilityOf(index);
  if (flag >= 0 && flag !== index) {
    const inside = await cellsOf(flag);
    picture.outside = stencil((i) => inside[i] === 0 && hasValue(layer, cells[i]));
    picture.outsideShare = picture.outside ? picture.outside.share : 0;
  }
  cache.set(index, picture);
  return picture;
}

function baseOf(index) { // the layer whose uncertainty this one describes, or itself
  const base = meta.layers.findIndex((layer) => Object.entries(layer.companions || {}).some(([end, at]) => at === index && end !== "applicability"));
  return base < 0 ? index : base;
}

function applicabilityOf(index) {
  const own = meta.layers[baseOf(index)].companions;
  return own && own.applicability !== undefined ? own.applicability : -1;
}

function hasValue(layer, value) {
  if (layer.classes) return layer.classes.some((c) => c.code === value);
  return value === value;
}

function stencil(test) { // a picture that is opaque where the test is true; null where it never is
  const image = document.createElement("canvas");
  Object.assign(image, { width: grid.columns, height: grid.rows });
  const brush = image.getContext("2d"), data = brush.createImageData(grid.columns, grid.rows);
  const pixels = new Uint32Array(data.data.buffer);
  let count = 0;
  for (let i = 0; i < pixels.length; i++) if (test(i)) { pixels[i] = 0xff000000; count++; }
  brush.putImageData(data, 0, 0);
  image.share = count;
  return count ? image : null;
}

function pack(colour) {
  const n = parseInt(colour.slice(1), 16);
  return (255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16);
}

// Position of a value on the colour bar, 0 to 1.
function position(layer, value) {
  if (layer.breaks) {
    const b = layer.breaks, n = b.length + 1;
    let k = 0;
    while (k < b.length && value >= b[k]) k++;
    if (k === 0) return 0.5 / n;
    if (k === b.length) return 1 - 0.5 / n;
    return (k + (value - b[k - 1]) / (b[k] - b[k - 1])) / n;
  }
  if (layer.log) return value > 0 ? Math.log(value / layer.low) / Math.log(layer.high / layer.low) : -1;
  return (value - layer.low) / (layer.high - layer.low);
}

function tableOf(layer) { // 256 colours along the bar; classes between breaks are plain
  const table = layer.colours.match(/.{6}/g).map((hex) => "#" + hex);
  if (!layer.breaks) return table;
  const n = layer.breaks.length + 1;
  return table.map((_, i) => table[Math.round((Math.min(n - 1, Math.floor((i / 256) * n)) / (n - 1)) * 255)]);
}

const clamp = (p) => Math.max(0, Math.min(255, Math.floor(p * 256)));

function paint(layer, cells) {
  const image = document.createElement("canvas");
  Object.assign(image, { width: grid.columns, height: grid.rows });
  const brush = image.getContext("2d"), data = brush.createImageData(grid.columns, grid.rows);
  const pixels = new Uint32Array(data.data.buffer);
  const ground = meta.ground.map((g) => (g.code === 0 ? 0 : pack(g.colour))); // outside shows the base map
  if (layer.classes) {
    const colours = new Map(layer.classes.map((c) => [c.code, pack(c.colour)]));
    for (let i = 0; i < cells.length; i++) pixels[i] = colours.get(cells[i]) ?? ground[groundCells[i]];
  } else {
    const table = tableOf(layer).map(pack);
    for (let i = 0; i < cells.length; i++) {
      const value = cells[i];
      if (value !== value) pixels[i] = ground[groundCells[i]];
      else if (!layer.log || value > 0) pixels[i] = table[clamp(position(layer, value))];
    }
  }
  brush.putImageData(data, 0, 0);
  return image;
}

const BINS = 48;
function histogram(layer, cells) {
  if (layer.classes) return null;
  const counts = new Array(BINS).fill(0);
  for (const value of cells) {
    if (value !== value || (layer.log && value <= 0)) continue;
    counts[Math.max(0, Math.min(BINS - 1, Math.floor(position(layer, value) * BINS)))]++;
  }
  return counts;
}
