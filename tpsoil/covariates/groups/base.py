"""What a covariate group declares, once: its layers, what it reads, its options, and how it computes.

`tpsoil cube derive`, `[derive.GROUP]` in a recipe, `--list`, the reference of recipes and the stages of a run are read
from the declaration; `compute` is the one implementation, on lazy layers in Python and on the windows of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tpsoil.variables import Variable, variable

from .sources import Array, ArraySource, Dem, SourceLayer, Stack

Layers = Mapping[str, xr.DataArray]
Summary = Callable[[Sequence[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]], Mapping[str, pd.DataFrame]]

Notes = Callable[[Sequence[Mapping[str, Any]]], Sequence[str]]


def option(
    default: Any,
    meaning: str,
    *,
    units: str = "",
    only: Mapping[str, Sequence[Any]] | None = None,
    source: str = "",
    layers: Sequence[str] = (),
    shared: bool = True,
    decisive: bool = True,
    required: bool = False,
    **constraints: Any,
) -> Any:
    """Declare one option of a group.

    Parameters
    ----------
    default : object
    meaning : str
        One line for `--list` and the reference.
    units : str
    only : mapping of str to sequence, optional
        Values of other options with which this one has an effect; with others it is rejected.
    source : {"", "dem", "stack", "file"}
        What kind of data it names.
    layers : sequence of str
        Layers of the group that it changes; all by default. Without one of them it is rejected.
    shared : bool
        Whether it may be given once for all groups that have it.
    decisive : bool
        Whether it changes the result; a limit of memory does not.
    required : bool
        Whether it needs a value wherever it has an effect.
    **constraints
        Of `pydantic.Field`, such as `gt=0`.
    """
    extra: dict[str, Any] = {
        "units": units, "only": dict(only or {}), "source": source, "layers": tuple(layers), "shared": shared,
        "decisive": decisive, "required": required,
    }  # fmt: skip
    return Field(default=default, description=meaning, json_schema_extra=extra, **constraints)


class CovariateGroup(BaseModel):
    """Base of the groups; a subclass is one declaration.

    Notes
    -----
    Class attributes: `group` (its name), `title`, `makes` (layers of the catalogue), `formula`, `references`,
    `main_option` (what `-o GROUP=VALUE` sets). Fields are the options. Frozen and hashable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, arbitrary_types_allowed=True)

    group: ClassVar[str] = ""
    title: ClassVar[str] = ""
    makes: ClassVar[tuple[str, ...]] = ()
    formula: ClassVar[str] = ""
    references: ClassVar[str] = ""
    main_option: ClassVar[str] = ""

    layers: tuple[str, ...] | None = option(None, "which of its layers; default: all", shared=False)

    @model_validator(mode="after")
    def _consistent(self) -> CovariateGroup:
        chosen = self.layers
        if chosen is not None and (set(chosen) - set(self.makes) or len(set(chosen)) < len(chosen) or not chosen):
            raise ValueError(f"layers is {list(chosen)}, expected each at most once of {', '.join(self.makes)}")
        for name in sorted(self.model_fields_set):
            if getattr(self, name) != type(self).model_fields[name].default and not self.applies(name):
                required = " and ".join(
                    f"{key} = {shown_values(values)}" for key, values in settings(self, name, "only")
                )
                raise ValueError(f"{name} has no effect here; it needs {required}")
        if lacking := [name for name, field in type(self).model_fields.items() if self._lacks(name, field.default)]:
            raise ValueError("; ".join(map(self._needed_text, lacking)))
        if idle := self.unused_options(self.chosen):
            name = idle[0]
            raise ValueError(f"{name} has no effect on {', '.join(self.chosen)}, only on {self.changed_by(name)}")
        return self

    def _lacks(self, name: str, default: Any) -> bool:
        """Whether an option has an effect and needs a value, and has none."""
        return bool(settings(self, name, "required")) and getattr(self, name) == default and self.applies(name)

    def _needed_text(self, name: str) -> str:
        """Which other option needs an option, and what to give."""
        other, values = settings(self, name, "only")[0]
        cause = f"{other} {getattr(self, other)}" if isinstance(values[0], str) and SET not in values else other
        return f"option {name} is needed by {cause}: {type(self).model_fields[name].description}"

    def unused_options(self, layers: Collection[str]) -> list[str]:
        """Options with another value than the default that change none of these layers."""
        return [
            name
            for name in sorted(self.model_fields_set)
            if getattr(self, name) != type(self).model_fields[name].default
            and (changed := settings(self, name, "layers"))
            and not set(changed) & set(layers)
        ]

    def changed_by(self, name: str) -> str:
        """Layers that an option changes, for a message."""
        return ", ".join(settings(self, name, "layers"))

    def applies(self, name: str) -> bool:
        """Whether an option has an effect with the values of the others."""
        for other, values in settings(self, name, "only"):
            present = getattr(self, other)
            if present not in values and not (SET in values and present is not None):
                return False
        return True

    def reads(self, available: Set[str]) -> tuple[str, ...]:
        """Layers of the cube that it needs, and those it uses where they are available."""
        return ()

    @property
    def data(self) -> dict[str, Dem | Stack | str]:
        """Options that name data, with their values; empty where all that it reads are layers of the cube."""
        values = {name: getattr(self, name) for name in type(self).model_fields if settings(self, name, "source")}
        return {name: value for name, value in values.items() if isinstance(value, Dem | Stack | str)}

    @property
    def indifferent(self) -> tuple[str, ...]:
        """Options that do not change its result, for its stage: paths, limits, and the selection of layers."""
        names = ["group.layers"]
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Dem | Stack):
                names.append(f"group.{name}.path")
            elif not settings(self, name, "decisive") or (settings(self, name, "source") and isinstance(value, str)):
                names.append(f"group.{name}")
        return tuple(names)

    @property
    def identity(self) -> dict[str, Any]:
        """Names of its data, for its stage; of a DataArray a digest."""
        return {
            f"source.{name}": Path(value).name if isinstance(value, str) else _path_identity(value.path)
            for name, value in self.data.items()
        }

    def check_stacks(self, stacks: Layers) -> None:
        """Reject options that have no effect with the opened stacks.

        Raises
        ------
        InputError
        """

    def source_layers(self, stacks: Layers) -> tuple[SourceLayer, ...]:
        """Layers that it reads from files; `stacks` are its opened stacks by option."""
        return ()

    @property
    def halo(self) -> int | None:
        """Cells of the grid around a cell that `compute` needs; None: all."""
        return 0

    @property
    def bytes_per_cell(self) -> float:
        """Peak working memory of `compute` for a cell."""
        return 64.0

    def demand(self, grid: GeoBox, names: Sequence[str]) -> tuple[int | None, float]:
        """Halo and memory for a cell of `compute` for some of its layers on a grid."""
        return self.halo, self.bytes_per_cell

    def sources_of(self, names: Sequence[str], available: Set[str]) -> Set[str]:
        """Which of its source layers some of its layers need."""
        return available

    def outputs_of(self, names: Sequence[str]) -> tuple[Variable, ...]:
        """What some of its layers are."""
        return tuple(variable(name) for name in names)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the layers to derive."""
        return self.makes if self.layers is None else self.layers

    def compute(self, layers: Layers) -> Mapping[str, xr.DataArray]:
        """Its layers from others on one grid, lazy where these are.

        Parameters
        ----------
        layers : mapping of str to DataArray (y, x)
            What `reads` and `source_layers` name.

        Returns
        -------
        mapping of str to DataArray (y, x)
            All that it `makes`, with attributes.
        """
        return {name: layers[name] for name in self.makes if name in layers}

    def assumptions(self, reads: Sequence[str]) -> str:
        """Assumed constants where these layers are read, for the attributes."""
        return ""

    def superseded(self, available: Set[str]) -> Mapping[str, str]:
        """Options that were given although a layer is available, which is kept: option to layer."""
        return {}

    def source_attributes(self, stacks: Layers) -> dict[str, Any]:
        """Attributes that depend on the opened stacks."""
        return {}

    def tally(self, layers: Mapping[str, Array]) -> Mapping[str, Any]:
        """Numbers of one chunk for `summary`."""
        return {}

    @property
    def summary(self) -> Summary | None:
        """Tables of the finished layers, from the tallies."""
        return None

    @property
    def notes(self) -> Notes | None:
        """Lines for the notes of a run, from the tallies."""
        return None

    def lacking_option(self, layer: str) -> str:
        """The option that one of its layers needs and that is not given; "" where there is none."""
        return ""

    def missing_input(self, name: str) -> str:
        """How to supply a layer that is not available."""
        return "add it to the cube, or under [[layers]] in a recipe"


SET: Final = "set"
"""In `only`: any value but None."""


def settings(group: CovariateGroup | type[CovariateGroup], name: str, key: str) -> Any:
    """A property that `option` declared, of one field; the items of a mapping."""
    declared: Any = (group if isinstance(group, type) else type(group)).model_fields[name].json_schema_extra or {}
    value = declared.get(key)
    return tuple(value.items()) if isinstance(value, Mapping) else value


def shown_values(values: Sequence[Any]) -> str:
    """Values of an option as a message shows them."""
    return " or ".join(
        "a value" if value == SET else str(value).lower() if value is True else str(value) for value in values
    )


def sample_of(layer: Variable, like: xr.DataArray) -> xr.DataArray:
    """A layer of missing values on the grid of another, with the catalogue's attributes."""
    filled = np.full(like.shape, layer.fill, dtype=layer.dtype)
    return xr.DataArray(filled, dims=like.dims, coords=like.coords, name=layer.name, attrs=layer.attributes())


def _path_identity(path: str | tuple[str, ...] | ArraySource) -> Any:
    if isinstance(path, ArraySource):
        values = np.ascontiguousarray(path.layer.values)
        return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest()
    return Path(path).name if isinstance(path, str) else [Path(one).name for one in path]
