"""Colour scales: a stretch adapted to the data, with rounded numbers on its bar."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

from . import palette

Floats = npt.NDArray[np.float64]
Arrows = Literal["neither", "both", "min", "max"]

QUANTILES: Final = (2.0, 10.0, 25.0, 50.0, 75.0, 90.0, 98.0)
SKEWED: Final = 0.45
"""From this Bowley-like skewness of the 1st, 50th and 99th percentile on, a layer is drawn in classes."""


def colour_scale(
    values: Floats, limits: tuple[float, float] | None, *, logarithmic: bool, kind: str = "continuous", cmap: str = ""
) -> tuple[Normalize, Arrows]:
    """Norm and arrows (`extend`) of a colour bar.

    Parameters
    ----------
    values : ndarray
        Values to draw; at least one is finite.
    limits : (float, float) or None
        Ends of the bar; else the 1st and 99th percentile.
    logarithmic : bool
    kind : str
        `"circular"`: 0 to 360.
    cmap : str
        A diverging colour map is centred on 0.

    Returns
    -------
    (Normalize, str)
        Skewed layers get classes with rounded breaks near their quantiles. One value gets an interval around it.

    Examples
    --------
    >>> colour_scale(np.array([0.0, 50.0, 100.0]), (0, 100), logarithmic=False)[1]
    'neither'
    """
    if kind == "circular":
        return Normalize(0, 360), "neither"
    finite = values[np.isfinite(values)]
    minimum, maximum = float(finite.min()), float(finite.max())
    low, high = limits or (float(v) for v in np.percentile(finite, (1, 99)))
    if cmap == palette.DIVERGING and limits is None:
        high = max(abs(low), abs(high))
        low = -high
    if not low < high:
        pad = max(abs(low) * 0.01, 1e-6)
        low, high = (low / (1 + 0.01), low * 1.01) if logarithmic else (low - pad, low + pad)
    if limits is None and not logarithmic and cmap != palette.DIVERGING:
        breaks = skewed_breaks(finite)
        if breaks is not None:
            extend = _arrows(minimum < breaks[0], maximum > breaks[-1])
            return BoundaryNorm(breaks, 256, extend=extend), extend
    return (LogNorm(low, high) if logarithmic else Normalize(low, high)), _arrows(minimum < low, maximum > high)


def skewed_breaks(values: Floats) -> list[float] | None:
    """Rounded class breaks near the quantiles of skewed values; None where a linear stretch is sufficient.

    Examples
    --------
    >>> skewed_breaks(np.linspace(0.0, 1.0, 100)) is None
    True
    >>> skewed_breaks(np.exp(np.linspace(0.0, 5.0, 1000)))
    [1.1, 1.6, 3.5, 12.0, 43.0, 90.0, 130.0]
    """
    low, middle, high = np.percentile(values, (1, 50, 99))
    if not low < high or abs(low + high - 2 * middle) / (high - low) < SKEWED:
        return None
    quantiles = np.percentile(values, QUANTILES)
    for digits in (2, 3):
        rounded = sorted({float(f"{quantile:.{digits}g}") for quantile in quantiles})
        if len(rounded) >= 5:
            return rounded
    return None


class Scale(NamedTuple):
    """Ends of a page's colour bar, its ticks from the low end up, its arrows, and whether the ticks bound classes."""

    low: float
    high: float
    ticks: list[float]
    extend: Arrows
    classes: bool = False


def rounded_scale(values: Floats, *, logarithmic: bool, kind: str = "continuous", cmap: str = "") -> Scale:
    """Scale of a page's colour bar: five evenly spaced rounded ticks, or the classes of a skewed layer.

    Parameters
    ----------
    values, logarithmic, kind, cmap
        As in `colour_scale`.

    Returns
    -------
    Scale
        The ends reach outward from the 1st and 99th percentile to rounded numbers.

    Examples
    --------
    >>> rounded_scale(np.linspace(0.389, 2.04, 50), logarithmic=False)[2]
    [0.0, 0.6, 1.2, 1.8, 2.4]
    """
    norm, _ = colour_scale(values, None, logarithmic=logarithmic, kind=kind, cmap=cmap)
    if isinstance(norm, BoundaryNorm):
        breaks = [float(value) for value in norm.boundaries]
        return Scale(breaks[0], breaks[-1], breaks, "both", classes=True)
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    if kind == "circular":
        ticks = [0.0, 90.0, 180.0, 270.0, 360.0]
    elif logarithmic:
        low, high = _one_two_five(low, up=False), _one_two_five(high, up=True)
        ticks = [float(f"{v:.2g}") for v in np.geomspace(low, high, 5)]
    elif cmap == palette.DIVERGING:
        step = _nice_step(0.0, high, 2)
        ticks = [float(f"{n * step:.6g}") for n in (-2, -1, 0, 1, 2)]
    else:
        step = _nice_step(low, high, 4)
        start = np.floor(low / step + 1e-9)
        ticks = [float(f"{(start + n) * step:.6g}") for n in range(5)]
    finite = values[np.isfinite(values)]
    extend = _arrows(float(finite.min()) < ticks[0], float(finite.max()) > ticks[-1])
    return Scale(ticks[0], ticks[-1], ticks, extend)


def _nice_step(low: float, high: float, steps: int) -> float:
    """The smallest rounded step of which `steps` reach from a multiple at or below `low` to `high`."""
    power = 10.0 ** np.floor(np.log10((high - low) / steps))
    for factor in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 25.0):
        step = factor * power
        if (np.floor(low / step + 1e-9) + steps) * step >= high * (1 - 1e-9):
            return float(step)
    return float(50.0 * power)


def _one_two_five(value: float, *, up: bool) -> float:
    power = int(np.floor(np.log10(value)))
    steps = [float(f"{n}e{p}") for p in (power - 1, power, power + 1) for n in (1, 2, 5)]
    close = 1 + 1e-6
    return min(v for v in steps if v * close >= value) if up else max(v for v in steps if v <= value * close)


def finish_bar(bar: Colorbar, image: ScalarMappable) -> None:
    """Rounded numbers at a colour bar's ticks: 1, 2 and 5 times powers of ten on a logarithmic one."""
    norm = image.norm
    if isinstance(norm, BoundaryNorm):
        bar.set_ticks([float(value) for value in norm.boundaries])
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: palette.number_text(value)))
    elif isinstance(norm, LogNorm) and norm.vmin and norm.vmax:
        ticks = log_ticks(norm.vmin, norm.vmax)
        if len(ticks) > 1:
            bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
            bar.ax.yaxis.set_minor_locator(NullLocator())
            if ticks[-1] < 1e6 and ticks[0] > 1e-4:
                bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    else:
        scale_into_label(bar)
    bar.ax.tick_params(labelsize=8)


def scale_into_label(bar: Colorbar) -> None:
    """Factor and unit in the label, where a linear bar's numbers have a common power of ten: plain ticks, no offset.

    matplotlib writes such a factor above the bar, apart from the unit, and an offset of close values as a sum.
    """
    ticks = np.asarray(bar.get_ticks(), float)
    largest = float(np.abs(ticks).max()) if ticks.size else 0.0
    power = int(np.floor(np.log10(largest))) if largest > 0 else 0
    if -4 < power < 6:
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        bar.ax.yaxis.set_major_formatter(plain)
        return
    first, *rest = bar.ax.get_ylabel().split("\n")
    quantity, _, unit = first.rpartition(", ")
    factor = f"×10{palette.superscript(power)} {unit}".removesuffix(" no unit")
    bar.set_label("\n".join([f"{quantity}, {factor}", *rest]), fontsize=9)
    bar.ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / 10.0**power:.6g}".replace("-", "\N{MINUS SIGN}"))
    )


def log_ticks(low: float, high: float, max_ticks: int = 9) -> list[float]:
    """Ticks of a logarithmic axis inside its limits: 1-2-5 where few decades are shown, else every n-th power of ten.

    Examples
    --------
    >>> log_ticks(3.0, 400.0)
    [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
    >>> log_ticks(1e-8, 1e2)
    [1e-08, 1e-06, 0.0001, 0.01, 1.0, 100.0]
    """
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    powers = range(first, last + 1)
    fine = [float(f"{n}e{p}") for p in powers for n in (1, 2, 5) if low <= float(f"{n}e{p}") <= high]
    if len(fine) <= max_ticks:
        return fine
    stride = -(-len(powers) // (max_ticks - 2))
    return [float(f"1e{p}") for p in powers if low <= float(f"1e{p}") <= high and (p - first) % stride == 0]


def _arrows(under: bool, over: bool) -> Arrows:
    names: dict[tuple[bool, bool], Arrows] = {(True, True): "both", (True, False): "min", (False, True): "max"}
    return names.get((under, over), "neither")
