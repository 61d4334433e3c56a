"""The state of a store, printed; imports neither typer nor what computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpsoil import engine  # not the recipes: their libraries take as long to load as the rest

from .tables import columns_of_text, width_of_terminal, wrapped

if TYPE_CHECKING:
    from tpsoil.engine import Preview


def print_status(store: str) -> None:
    """Which tiles of a store are up to date, missing or stale, and why."""
    plans = engine.status(store)
    state, writer = engine.state_of(store)
    print(f"{store}: {state}" + (f"; being written by {writer}" if writer else ""))
    print_plans(plans, forecast=False)


def print_plans(plans: list[Preview], *, forecast: bool) -> None:
    """A line for each stage, its notes and reasons, and the number of tiles to compute."""
    width = width_of_terminal()
    headings = ["stage", "tiles", "up to date", "missing", "stale", *(["follows", "GB"] if forecast else [])]
    rows = []
    for item in plans:
        plan = item.plan
        row = [item.title, plan.total, plan.current, len(plan.missing), len(plan.stale)]
        if forecast:
            row += [plan.follows, "" if item.forecast is None else f"{item.forecast.total / 1e9:.2f}"]
        rows.append([str(cell) for cell in row])
    for line in columns_of_text(headings, rows):
        print(line)
    for item in plans:
        if item.note:
            print(wrapped(f"{item.title}: {item.note}", width))
        for reason, count in list(item.plan.reasons().items())[:10]:
            print(wrapped(f"{item.title}: {count} tile{'' if count == 1 else 's'} stale: {reason}", width))
    stale_or_missing = sum(len(item.plan.to_compute) for item in plans)
    follows = sum(item.plan.follows for item in plans)
    total = sum(item.plan.total for item in plans)
    suffix = f"; {follows} more are checked when those are computed" if follows else ""
    print(f"{stale_or_missing} of {total} tiles to compute{suffix}")
