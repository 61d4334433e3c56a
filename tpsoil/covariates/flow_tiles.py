"""Flow over a whole DEM by tiles: depressions, level ground, upslope area and slope length, with bounded memory.

Each tile is drained alone and leaves what crosses its perimeter; the perimeters of all tiles are solved together; a
window is then drained again with what enters it. The result does not depend on the tiles, bit for bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.kernels import drainage, flood, flow

from .tile_layout import TileLayout, border

Array = npt.NDArray[Any]
Reader = Callable[[slice, slice], Array]

TILE_CELLS: Final = 1024
"""Cells a side of a tile."""
TILE_BYTES: Final = 80
"""Peak memory of draining a tile, bytes a cell; measured, see `tests/test_hydrology.py`."""
PERIMETER_BYTES: Final = 200
"""Memory of the perimeters' graph, bytes for each of their cells."""
TILES_IN_MEMORY: Final = 4
RETAINED_BYTES: Final = 24
"""For each cell of the tiles that are kept."""
CUTOFFS: Final = (0.5, 0.7)
"""A slope length ends where the slope falls below this share of the slope above; the second below 5 %."""


@dataclass(frozen=True, eq=False)
class DemGrid:
    """A DEM that is read by windows.

    Parameters
    ----------
    read : callable
        `read(rows, columns)` gives elevation, float, m, NaN where missing.
    shape : (int, int)
    dx, dy : ndarray (ny,), float64, m
        Signed cell size of each row.
    """

    read: Reader
    shape: tuple[int, int]
    dx: Array
    dy: Array

    def padded(self, rows: slice, columns: slice) -> Array:
        """A window with a ring of one cell, NaN beyond the grid."""
        ny, nx = self.shape
        inner = (
            slice(max(rows.start - 1, 0), min(rows.stop + 1, ny)),
            slice(max(columns.start - 1, 0), min(columns.stop + 1, nx)),
        )
        beyond = (
            (int(rows.start == 0), int(rows.stop == ny)),
            (int(columns.start == 0), int(columns.stop == nx)),
        )
        z = np.asarray(self.read(*inner))
        return np.ascontiguousarray(np.pad(z, beyond, constant_values=np.nan))

    @property
    def own_area(self) -> Array:
        """Area of a cell of each row, m2, in a unit in which the sum over any cells of the grid is exact."""
        area = np.abs(self.dx * self.dy)
        largest = float(area.max(initial=0.0)) * self.shape[0] * self.shape[1]
        unit = 2.0 ** (np.ceil(np.log2(max(largest, 1e-300))) - 52)
        return np.asarray(np.round(area / unit) * unit)


@dataclass
class Drained:
    """Flow over one tile.

    Parameters
    ----------
    filled : ndarray (ny, nx), float32, m
    area : ndarray (ny, nx), float64, m2
        Upslope, with the cell's own; NaN is missing.
    length : ndarray (ny, nx), float64, m
    """

    filled: Array
    area: Array
    length: Array


@dataclass
class _Perimeter:
    """What is known of the perimeter cells of all tiles, by their numbers."""

    labels: Array
    filled: Array
    steps: Array
    levels: list[Array] = field(default_factory=list)
    entering: Array | None = None
    length_in: Array | None = None


class FlowTiles:
    """Flow over a DEM, by windows.

    Parameters
    ----------
    dem : DemGrid
    tile : int
        Cells a side of a tile.

    Notes
    -----
    Depressions are filled to their lowest pour point. Flow goes to the steepest of eight neighbours; on level ground,
    filled depressions included, to the neighbour at the same height that is fewest steps from a cell with a way down,
    the first among equals. Missing cells and the grid's edge are outlets. Areas and step lengths are rounded to a unit
    in which their sums are exact, so that the order of summation is of no effect.

    Memory: 80 bytes for each cell of a tile, and 200 for each cell of the tiles' perimeters, 0.8 bytes for each cell of
    the DEM. The DEM is read four times, and once more where it is used.

    References
    ----------
    Barnes 2016, doi 10.1016/j.cageo.2016.07.001 (depressions). Barnes 2017, doi 10.1016/j.geomorph.2016.12.012
    (accumulation).
    """

    def __init__(self, dem: DemGrid, tile: int = TILE_CELLS) -> None:
        self.dem, self.tile_cells = dem, tile
        self.layout = TileLayout(dem.shape, tile)
        self._lock = threading.Lock()
        self._filled: _Perimeter | None = None
        self._routed: _Perimeter | None = None
        self._drained = lru_cache(maxsize=TILES_IN_MEMORY)(self._drain)
        self._flooded = lru_cache(maxsize=TILES_IN_MEMORY)(self._fill)

    def __reduce__(self) -> Any:
        return FlowTiles, (self.dem, self.tile_cells)

    def filled(self, rows: slice, columns: slice) -> Array:
        """Elevation without depressions, float32, m."""
        return self._joined(rows, columns, lambda tile: (self._flooded(tile),), (np.float32,))[0]

    def drained(self, rows: slice, columns: slice) -> Drained:
        """Flow over a window."""

        def of_tile(tile: int) -> tuple[Array, ...]:
            one = self._drained(tile)
            return one.filled, one.area, one.length

        return Drained(*self._joined(rows, columns, of_tile, (np.float32, np.float64, np.float64)))

    def _joined(
        self, rows: slice, columns: slice, of_tile: Callable[[int], tuple[Array, ...]], dtypes: tuple[Any, ...]
    ) -> list[Array]:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        results = [np.full(shape, np.nan, dtype) for dtype in dtypes]
        for tile in self.layout.touching(rows, columns):
            own_rows, own_columns = self.layout.window_of(tile)
            top, bottom = max(rows.start, own_rows.start), min(rows.stop, own_rows.stop)
            left, right = max(columns.start, own_columns.start), min(columns.stop, own_columns.stop)
            there = slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)
            here = (
                slice(top - own_rows.start, bottom - own_rows.start),
                slice(left - own_columns.start, right - own_columns.start),
            )
            for result, values in zip(results, of_tile(tile)):
                result[there] = values[here]
        return results

    # --- the perimeters of all tiles

    def _solve_filling(self) -> _Perimeter:
        with self._lock:
            if self._filled is None:
                self._filled = self._perimeter_levels()
            return self._filled

    def _perimeter_levels(self) -> _Perimeter:
        cells = self.layout.perimeter_cells
        known = _Perimeter(
            np.full(cells, flood.MISSING, np.int64), np.full(cells, np.nan, np.float32), np.full(cells, drainage.FAR)
        )
        first, second, heights = [], [], []
        counts, nodes = [], 1
        for tile in range(self.layout.tiles):
            filled, labels, count = flood.flood(self._elevation(tile))
            a, b, height = flood.passes(filled, labels, count)
            rows, columns = border(*labels.shape)
            place = self.layout.place(tile)
            # label 0 of every tile is the outside, node 0
            label = labels[rows, columns].astype(np.int64)
            known.labels[place] = np.where(label > 0, label + nodes - 1, label)
            known.filled[place] = filled[rows, columns]
            first.append(np.where(a > 0, a + nodes - 1, 0))
            second.append(b + nodes - 1)
            heights.append(height)
            counts.append(count)
            nodes += count - 1
        for tile in range(self.layout.tiles):
            a, b, height = self._passes_between(tile, known)
            first.append(a)
            second.append(b)
            heights.append(height)
        levels = _levels(np.concatenate(first), np.concatenate(second), np.concatenate(heights), nodes)
        at = 1
        for count in counts:
            known.levels.append(np.concatenate([levels[:1], levels[at : at + count - 1]]))
            at += count - 1
        valid = known.labels >= 0
        known.filled[valid] = np.maximum(known.filled[valid], levels[known.labels[valid]])
        return known

    def _passes_between(self, tile: int, known: _Perimeter) -> tuple[Array, Array, Array]:
        """Passes from the perimeter of a tile to the ring around it."""
        labels = self.layout.ring(tile, known.labels, flood.MISSING)
        z = self.layout.ring(tile, known.filled, np.nan)
        ny, nx = self.layout.size(tile)
        own_rows, own_columns = border(ny, nx)
        place = self.layout.place(tile)
        own, height = known.labels[place], known.filled[place]
        a, b, heights = [], [], []
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                rows, columns = own_rows + 1 + down, own_columns + 1 + right
                outer = (rows == 0) | (rows == ny + 1) | (columns == 0) | (columns == nx + 1)
                other = labels[rows, columns]
                use = outer & (other >= 0) & (own >= 0) & (other != own)
                a.append(own[use])
                b.append(other[use])
                heights.append(np.maximum(height[use], z[rows, columns][use]))
        return np.concatenate(a), np.concatenate(b), np.concatenate(heights)

    def _solve(self) -> _Perimeter:
        known = self._solve_filling()
        with self._lock:
            if self._routed is None:
                self._level_ground(known)
                self._route(known)
                self._routed = known
            return known

    def _level_ground(self, known: _Perimeter) -> None:
        """Steps over level ground that crosses tiles, repeated until no perimeter changes."""
        waiting = set(range(self.layout.tiles))
        while waiting:
            for tile in sorted(waiting):
                waiting.discard(tile)
                _, filled, ways = self._surface(tile, known)
                steps = flood.level_steps(filled, ways, self.layout.ring(tile, known.steps, drainage.FAR))
                rows, columns = border(*ways.shape)
                place = self.layout.place(tile)
                changed = known.steps[place] > steps[rows, columns]
                if changed.any():
                    known.steps[place] = steps[rows, columns]
                    waiting |= self._waiting_for(tile, rows[changed], columns[changed], known)

    def _waiting_for(self, tile: int, rows: Array, columns: Array, known: _Perimeter) -> set[int]:
        """Tiles beside these cells that have level ground at their height."""
        own = known.filled[self.layout.numbers(tile, rows, columns)]
        touched: set[int] = set()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                numbers = self.layout.numbers(tile, rows + down, columns + right)
                inside = (rows + down >= 0) & (columns + right >= 0)
                inside &= (rows + down < self.layout.size(tile)[0]) & (columns + right < self.layout.size(tile)[1])
                beside = numbers[~inside & (numbers >= 0)]
                same = known.filled[beside] == own[~inside & (numbers >= 0)]
                level = known.steps[beside] > 0
                touched |= {
                    int(t) for t in np.searchsorted(self.layout.offsets, beside[same & level], side="right") - 1
                }
        return touched - {tile}

    def _route(self, known: _Perimeter) -> None:
        """Areas and slope lengths that enter every tile."""
        cells = self.layout.perimeter_cells
        targets, exits = np.full(cells, -1, np.int64), np.full(cells, -1, np.int64)
        area, length, distance = np.zeros(cells), np.zeros(cells), np.full(cells, drainage.ENDED)
        slopes, steps = np.full(cells, np.nan), np.zeros(cells)
        for tile in range(self.layout.tiles):
            _, filled, ways = self._surface(tile, known, final=True)
            dx, dy = self._sizes(tile)
            upslope, order, down, long = self._within(tile, filled, ways, None)
            leaves, far = drainage.ways_out(ways, order, down, dx, dy, CUTOFFS)
            rows, columns = border(*ways.shape)
            place = self.layout.place(tile)
            area[place], length[place] = upslope[rows, columns], long[rows, columns]
            slopes[place], distance[place] = down[rows, columns], far[rows, columns]
            last = leaves[rows, columns]
            width = ways.shape[1]
            exits[place] = np.where(last >= 0, self.layout.numbers(tile, last // width, last % width), -1)
            targets[place], steps[place] = self._targets(tile, ways, rows, columns)
        known.entering, order = drainage.routed(targets, exits, np.nan_to_num(area))
        known.length_in = drainage.routed_lengths(targets, exits, length, distance, slopes, steps, order, CUTOFFS)

    def _targets(self, tile: int, ways: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
        """Perimeter cells of other tiles into which those of a tile drain, and the step, m."""
        dx, dy = self._sizes(tile)
        codes = ways[rows, columns]
        k = np.array([drainage.direction_of(code) for code in range(256)])[codes]
        to_rows = rows + np.where(k >= 0, flow.ROWS[k], 0)
        to_columns = columns + np.where(k >= 0, flow.COLUMNS[k], 0)
        outer = (to_rows < 0) | (to_columns < 0) | (to_rows >= ways.shape[0]) | (to_columns >= ways.shape[1])
        targets = np.where(outer, self.layout.numbers(tile, to_rows, to_columns), -1)
        steps = np.array([drainage.step_of(int(one), dx[row], dy[row]) for one, row in zip(k, rows)])
        return targets, steps

    # --- one tile

    def _elevation(self, tile: int) -> Array:
        return self.dem.padded(*self.layout.window_of(tile)).astype(np.float32)

    def _sizes(self, tile: int) -> tuple[Array, Array]:
        rows, _ = self.layout.window_of(tile)
        return self.dem.dx[rows], self.dem.dy[rows]

    def _fill(self, tile: int) -> Array:
        known = self._solve_filling()
        return self._filled_tile(tile, known)

    def _filled_tile(self, tile: int, known: _Perimeter) -> Array:
        filled, labels, _ = flood.flood(self._elevation(tile))
        # a missing cell's label is negative, and it stays missing
        return np.asarray(np.fmax(filled, known.levels[tile][np.maximum(labels, 0)]) + 0 * filled)

    def _surface(self, tile: int, known: _Perimeter, *, final: bool = False) -> tuple[Array, Array, Array]:
        """Filled elevation, the same with its ring, and ways; with `final` also of level ground."""
        own = self._filled_tile(tile, known)
        filled = self.layout.ring(tile, known.filled, np.nan)
        filled[1:-1, 1:-1] = own
        ways = drainage.steepest_ways(filled, *self._sizes(tile))
        if final:
            ring = self.layout.ring(tile, known.steps, drainage.FAR)
            flood.level_ways(filled, ways, flood.level_steps(filled, ways, ring), ring)
        return own, filled, ways

    def _within(
        self, tile: int, filled: Array, ways: Array, known: _Perimeter | None
    ) -> tuple[Array, Array, Array, Array]:
        """Upslope area, order, slopes and slope length, with what enters where it is known."""
        rows, _ = self.layout.window_of(tile)
        dx, dy = self._sizes(tile)
        area = np.array(np.broadcast_to(self.dem.own_area[rows][:, None], ways.shape), order="C")
        length = np.zeros(ways.shape)
        if known is not None and known.entering is not None and known.length_in is not None:
            cells, place = border(*ways.shape), self.layout.place(tile)
            area[cells] += known.entering[place]
            length[cells] = known.length_in[place]
        order = drainage.accumulate(ways, area)
        area[ways == flow.NO_DATA] = np.nan
        slopes = drainage.slopes_down(ways, filled, dx, dy)
        drainage.slope_lengths(ways, order, slopes, length, dx, dy, CUTOFFS)
        return area, order, slopes, length

    def _drain(self, tile: int) -> Drained:
        known = self._solve()
        own, filled, ways = self._surface(tile, known, final=True)
        area, _, _, length = self._within(tile, filled, ways, known)
        return Drained(own, area, length)


def needed_bytes(shape: tuple[int, int], tile: int = TILE_CELLS) -> int:
    """Peak memory of the flow over a DEM beside the windows that are read, bytes."""
    ny, nx = shape
    tiles = -(-ny // tile) * -(-nx // tile)
    rows, columns = min(ny, tile), min(nx, tile)
    return TILE_BYTES * rows * columns + PERIMETER_BYTES * tiles * 2 * (rows + columns)


def _levels(first: Array, second: Array, heights: Array, nodes: int) -> Array:
    pair, height = flood.lowest(np.minimum(first, second) * nodes + np.maximum(first, second), heights)
    a, b = pair // nodes, pair % nodes
    sources, targets = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.argsort(sources, kind="stable")
    starts = np.searchsorted(sources[order], np.arange(nodes + 1))
    return np.asarray(flood.spill_levels(starts, targets[order], np.concatenate([height, height])[order]))
