"""The reference of covariate groups: every option with type, unit, default and meaning, from the declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tpsoil.covariates.groups import GROUPS, CovariateGroup
from tpsoil.covariates.groups.base import settings, shown_values

from .derive_settings import type_text

INTRODUCTION: Final = (
    "A recipe has one table `[derive.GROUP]` for each group, or names layers in `[derive] layers`; the command line",
    "has `tpsoil cube derive STORE GROUP... -o GROUP.OPTION=VALUE`. An option that several groups have may be given",
    "once, in `[derive]` or as `-o OPTION=VALUE`. What a group needs and nothing supplies is derived first; a layer",
    "that is supplied is kept.",
)


@dataclass(frozen=True)
class OptionRow:
    """One option of one group.

    Parameters
    ----------
    group, name, kind, units, default, meaning : str
        As a reader writes them; the default is empty where there is none, "needed" where it must be given.
    """

    group: str
    name: str
    kind: str
    units: str
    default: str
    meaning: str


def option_rows(group: str | None = None) -> list[OptionRow]:
    """All options of one group, or of all.

    Examples
    --------
    >>> [row.default for row in option_rows("hydrology") if row.name == "max_length_m"]
    ['300']
    """
    rows = []
    for name, kind in GROUPS.items():
        if group in (None, name):
            rows += [_row(kind, key, field) for key, field in kind.model_fields.items()]
    return rows


def _row(kind: type[CovariateGroup], name: str, field: Any) -> OptionRow:
    conditions = settings(kind, name, "only")
    needs = "".join(f"; with {key} = {shown_values(values)}" for key, values in conditions)
    default = field.default
    if field.is_required():
        shown = "needed"
    elif default is None or default == "":
        shown = ""
    else:
        shown = (
            str(default).lower()
            if isinstance(default, bool)
            else f"{default:g}"
            if isinstance(default, float)
            else str(default)
        )
    return OptionRow(
        kind.group,
        name,
        type_text(field.annotation),
        settings(kind, name, "units") or "",
        shown,
        field.description + needs,
    )


def reference_text() -> str:
    """The reference of `[derive]` as Markdown.

    Examples
    --------
    >>> reference_text().splitlines()[0]
    '# Derived covariates'
    """
    lines = ["# Derived covariates", "", *INTRODUCTION]
    for name, kind in GROUPS.items():
        lines += ["", f"## {name}: {kind.title}", "", f"Makes {', '.join(kind.makes)}. {kind.formula}."]
        lines += [f"References: {kind.references}."] if kind.references else []
        lines += ["", "| option | type | unit | default | meaning |", "|---|---|---|---|---|"]
        for row in option_rows(name):
            lines.append(f"| {row.name} | {row.kind.replace('|', '/')} | {row.units} | {row.default} | {row.meaning} |")
    return "\n".join(lines) + "\n"
