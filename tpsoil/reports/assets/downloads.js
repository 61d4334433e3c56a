// Files for the reader: the layer shown as GeoTIFF, tables as CSV.
function offer(name, parts, type) {
  const url = URL.createObjectURL(new Blob(parts, { type })), link = element("a", undefined, { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// Classic little-endian TIFF, one strip, not compressed; the keys of the CRS are those that GDAL writes.
function geotiff(layer, cells) {
  const SIZES = { 2: 1, 3: 2, 4: 4, 12: 8 };
  const kind = cells instanceof Float32Array ? 3 : cells instanceof Uint8Array ? 1 : 2, bits = 8 * cells.BYTES_PER_ELEMENT;
  const text = (s) => [...new TextEncoder().encode(s), 0];
  const nodata = kind === 3 ? "nan" : kind === 1 ? "255" : "-2147483648";
  const tags = [
    [256, 4, [grid.columns]], [257, 4, [grid.rows]], [258, 3, [bits]], [259, 3, [1]], [262, 3, [1]],
    [270, 2, text(layer.title + (layer.unit ? ", " + layer.unit : ""))], [273, 4, [0]], [277, 3, [1]],
    [278, 4, [grid.rows]], [279, 4, [cells.byteLength]], [305, 2, text("tpsoil")], [339, 3, [kind]],
    [42113, 2, text(nodata)],
  ];
  if (meta.tiff) {
    const [dx, dy] = meta.tiff.cell, [x, y] = meta.tiff.corner;
    tags.push([33550, 12, [dx, dy, 0]], [33922, 12, [0, 0, 0, x, y, 0]], ...meta.tiff.tags);
  }
  tags.sort((p, q) => p[0] - q[0]);
  let extra = 8 + 2 + 12 * tags.length + 4;
  const at = tags.map(([, type, list]) => {
    const size = SIZES[type] * list.length;
    if (size <= 4) return -1;
    const here = (extra += extra % 2);
    extra += size;
    return here;
  });
  extra += (8 - (extra % 8)) % 8;
  tags.find((t) => t[0] === 273)[2] = [extra];
  const head = new DataView(new ArrayBuffer(extra));
  const put = { 2: (o, v) => head.setUint8(o, v), 3: (o, v) => head.setUint16(o, v, true), 4: (o, v) => head.setUint32(o, v, true), 12: (o, v) => head.setFloat64(o, v, true) };
  head.setUint16(0, 0x4949);
  head.setUint16(2, 42, true);
  head.setUint32(4, 8, true);
  head.setUint16(8, tags.length, true);
  tags.forEach(([number, type, list], i) => {
    const entry = 10 + 12 * i, place = at[i] < 0 ? entry + 8 : at[i];
    head.setUint16(entry, number, true);
    head.setUint16(entry + 2, type, true);
    head.setUint32(entry + 4, list.length, true);
    if (at[i] >= 0) head.setUint32(entry + 8, place, true);
    list.forEach((value, k) => put[type](place + SIZES[type] * k, value));
  });
  return [head.buffer, cells.buffer];
}

find("tiff").addEventListener("click", () => {
  if (!loaded) return;
  const layer = meta.layers[current];
  offer(layer.name + ".tif", geotiff(layer, loaded.cells), "image/tiff");
});
for (const button of document.querySelectorAll("button.csv")) {
  button.addEventListener("click", () => offer(button.dataset.name + ".csv", [JSON.parse(find(button.dataset.csv).textContent)], "text/csv"));
}
