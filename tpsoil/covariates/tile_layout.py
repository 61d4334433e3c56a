"""Tiles of a grid and the numbers of their perimeter cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class TileLayout:
    """Tiles of a grid, in rows; their perimeter cells are numbered tile by tile.

    Parameters
    ----------
    shape : (int, int)
    side : int
        Cells a side of a tile; the last ones are smaller.
    """

    def __init__(self, shape: tuple[int, int], side: int) -> None:
        self.shape, self.side = shape, side
        self.tops, self.lefts = np.arange(0, shape[0], side), np.arange(0, shape[1], side)
        sizes = [_perimeter_cells(*self.size(tile)) for tile in range(self.tiles)]
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def perimeter_cells(self) -> int:
        """Perimeter cells of all tiles."""
        return int(self.offsets[-1])

    def place(self, tile: int) -> slice:
        """Perimeter numbers of a tile."""
        return slice(int(self.offsets[tile]), int(self.offsets[tile + 1]))

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.tops) * len(self.lefts)

    def size(self, tile: int) -> tuple[int, int]:
        """Rows and columns of a tile."""
        rows, columns = self.window_of(tile)
        return rows.stop - rows.start, columns.stop - columns.start

    def window_of(self, tile: int) -> tuple[slice, slice]:
        """Cells of a tile."""
        i, j = divmod(tile, len(self.lefts))
        top, left = int(self.tops[i]), int(self.lefts[j])
        ny, nx = self.shape
        return slice(top, min(top + self.side, ny)), slice(left, min(left + self.side, nx))

    def touching(self, rows: slice, columns: slice) -> Iterator[int]:
        """Tiles that a window has cells of."""
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        for i in range(rows.start // self.side, (rows.stop - 1) // self.side + 1):
            for j in range(columns.start // self.side, (columns.stop - 1) // self.side + 1):
                yield i * len(self.lefts) + j

    def ring(self, tile: int, of_perimeter: Array, beyond: Any) -> Array:
        """Values of the perimeters of the neighbours around a tile, (ny + 2, nx + 2)."""
        ny, nx = self.size(tile)
        ring = np.full((ny + 2, nx + 2), beyond, of_perimeter.dtype)
        rows, columns, numbers = self.ring_cells(tile)
        ring[rows, columns] = of_perimeter[numbers]
        return ring

    def ring_cells(self, tile: int) -> tuple[Array, Array, Array]:
        """Rows and columns of the ring of a tile within the grid, and the perimeter numbers of its cells."""
        ny, nx = self.size(tile)
        rows, columns = border(ny + 2, nx + 2)
        numbers = self.numbers(tile, rows - 1, columns - 1)
        known = numbers >= 0
        return rows[known], columns[known], numbers[known]

    def numbers(self, tile: int, rows: Array, columns: Array) -> Array:
        """Perimeter numbers of cells by row and column from a tile's first cell; -1 beyond the grid."""
        own_rows, own_columns = self.window_of(tile)
        y, x = rows + own_rows.start, columns + own_columns.start
        within = (y >= 0) & (y < self.shape[0]) & (x >= 0) & (x < self.shape[1])
        y, x = np.where(within, y, 0), np.where(within, x, 0)
        i, j = y // self.side, x // self.side
        heights = np.minimum(self.tops[i] + self.side, self.shape[0]) - self.tops[i]
        widths = np.minimum(self.lefts[j] + self.side, self.shape[1]) - self.lefts[j]
        place = _perimeter_place(y - self.tops[i], x - self.lefts[j], heights, widths)
        return np.where(within, self.offsets[i * len(self.lefts) + j] + place, -1)


def _perimeter_cells(ny: int, nx: int) -> int:
    return nx if ny == 1 else ny if nx == 1 else 2 * nx + 2 * (ny - 2)


def _perimeter_place(rows: Array, columns: Array, ny: Array, nx: Array) -> Array:
    """Place of a perimeter cell among those of its tile: first row, last row, first column, last column."""
    side = np.where(columns == 0, 2 * nx + rows - 1, 2 * nx + ny - 3 + rows)
    side = np.where(nx == 1, rows + 1, side)
    last = np.where(nx == 1, 1, nx + columns)
    return np.where(rows == 0, columns, np.where(rows == ny - 1, last, side))


def border(ny: int, nx: int) -> tuple[Array, Array]:
    """Rows and columns of the perimeter of a tile, in the order of `_perimeter_place`."""
    across, down = np.arange(nx), np.arange(1, ny - 1)
    rows = [np.zeros(nx, np.int64)]
    columns = [across]
    if ny > 1:
        rows.append(np.full(nx, ny - 1))
        columns.append(across)
    for column in sorted({0, nx - 1}):
        rows.append(down)
        columns.append(np.full(down.size, column))
    return np.concatenate(rows), np.concatenate(columns)
