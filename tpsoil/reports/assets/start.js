// Input, the state in the address, and the first map.
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
      if (find("point").hidden && !drawing) spot = null;
      read(cellAt(to.x, to.y), false);
      cross();
    }
    return;
  }
  if (fingers.size === 2) {
    const partner = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
    const before = Math.hypot(from.x - partner.x, from.y - partner.y), now = Math.hypot(to.x - partner.x, to.y - partner.y);
    if (before > 0) zoom(now / before, (to.x + partner.x) / 2, (to.y + partner.y) / 2);
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
      if (drawing) setEnd(cell); else inspect(cell);
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
  } else if (event.key === "Enter" && spot) {
    if (drawing) setEnd(spot); else inspect(spot);
  } else if (event.key === "Escape") {
    find("point").hidden = true;
    if (drawing) startDrawing();
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
find("before").addEventListener("click", () => change(current - 1));
find("after").addEventListener("click", () => change(current + 1));
find("transect").addEventListener("click", startDrawing);
select.addEventListener("change", () => change(Number(select.value)));
second.addEventListener("change", () => { used = true; compare(second.value === "" ? -1 : Number(second.value)); });
for (const id of ["swipe", "context", "hatch", "samples"]) find(id).addEventListener("input", redraw);

async function change(index) {
  used = true;
  await show(index);
  if (line.length === 2) profile();
}

// ---- the address: #layer=...&x=...&y=...&zoom=... ----
let used = false, waiting = 0;
function remember() {
  if (!(used || touched) || waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    const middle = cellsAt(width / 2, height / 2), parts = new URLSearchParams({ layer: meta.layers[current].name });
    if (touched) {
      const places = grid.places + 2;
      parts.set("x", (grid.left + middle[0] * grid.step * grid.dx).toFixed(places));
      parts.set("y", (grid.top - middle[1] * grid.step * grid.dy).toFixed(places));
      parts.set("zoom", (view.scale / fitting()).toFixed(2));
    }
    if (other >= 0) parts.set("second", meta.layers[other].name);
    try {
      history.replaceState(null, "", "#" + parts);
    } catch (error) { /* inside a notebook there is no address */ }
  }, 150);
}
const cellsAt = (x, y) => [(x - view.x) / view.scale, (y - view.y) / (view.scale * tall)];

async function follow() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const indexOf = (name) => meta.layers.findIndex((layer) => layer.name === name);
  if (!parts.has("layer")) return false;
  const wanted = Math.max(0, indexOf(parts.get("layer")));
  const numbers = ["x", "y", "zoom"].map((key) => Number(parts.get(key) ?? NaN));
  if (numbers.every(Number.isFinite) && numbers[2] > 0 && width) {
    const [x, y, factor] = numbers;
    view.scale = Math.min(fitting() * Math.max(1, factor), Math.max(40, fitting() * 2));
    view.x = width / 2 - (x - grid.left) / grid.dx / grid.step * view.scale;
    view.y = height / 2 - (grid.top - y) / grid.dy / grid.step * view.scale * tall;
    touched = true;
    limitView();
  }
  if (indexOf(parts.get("second")) >= 0) await compare(indexOf(parts.get("second")));
  await show(wanted);
  return true;
}
window.addEventListener("hashchange", follow);

new ResizeObserver(() => {
  const box = map.getBoundingClientRect(), first = !width, old = { w: width, h: height };
  width = box.width - 2;
  height = box.height - 2;
  if (first) {
    showAll();
    follow().then((done) => done || show(0));
  } else if (!touched) showAll();
  else {
    view.x += (width - old.w) / 2;
    view.y += (height - old.h) / 2;
    limitView();
    redraw();
  }
}).observe(map);
