"""A walk through the catalogue: every layer says what it is, in units others can read."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from tpsoil.errors import InputError
from tpsoil.units import conversion
from tpsoil.variables import CATALOGUE, NO_CLASS, Kind, Variable, class_names, describe_layer, flags_of, variable

LAYERS = list(CATALOGUE.values())
UNIT = re.compile(r"^(1|%|degC|[A-Za-z]+(-?\d+)?( [A-Za-z]+(-?\d+)?)*)$")


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_every_layer_is_whole(spec: Variable) -> None:
    assert CATALOGUE[spec.name] is spec
    assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
    assert spec.name not in {"x", "y", "spatial_ref", "time"}
    assert spec.long_name
    assert spec.long_name == spec.long_name.strip()
    assert spec.meaning
    assert UNIT.fullmatch(spec.units), spec.units
    assert np.isnan(spec.low) or np.isnan(spec.high) or spec.low < spec.high
    if spec.kind == "categorical":
        assert np.dtype(spec.dtype).kind in "iu"
        assert spec.units == "1"
        limits = np.iinfo(spec.dtype)
        assert limits.min <= spec.fill <= limits.max
        assert spec.fill not in spec.flags
        assert all(limits.min <= code <= limits.max for code in spec.flags)
        assert len(set(spec.flags.values())) == len(spec.flags)
    else:
        assert spec.dtype == "float32"
        assert np.isnan(spec.fill)
        assert not spec.flags
    if spec.kind == "circular":
        assert (spec.low, spec.high) == (0, 360)


@pytest.mark.parametrize("spec", LAYERS, ids=lambda spec: spec.name)
def test_attributes_are_json_and_cf(spec: Variable) -> None:
    attrs = spec.attributes()
    assert json.loads(json.dumps(attrs)) == attrs
    assert {"long_name", "units", "kind"} <= set(attrs)
    if spec.flags:
        assert len(attrs["flag_values"]) == len(attrs["flag_meanings"].split())
        assert attrs["flag_values"] == sorted(spec.flags)


@pytest.mark.parametrize("spec", [s for s in LAYERS if s.kind != "categorical"], ids=lambda spec: spec.name)
def test_its_own_unit_converts_to_itself(spec: Variable) -> None:
    assert conversion(spec.units, spec.units, where=spec.name) == (1.0, 0.0)


def test_the_physical_ranges_hold_what_was_seen_on_earth() -> None:
    for name, values in {
        "elevation": (-430, 8849), "mean_annual_temperature": (-58, 35), "annual_precipitation": (0, 12_000),
        "ndvi": (-0.2, 0.99), "slope": (0, 89), "soil_ph": (2.5, 11), "bulk_density": (100, 2700),
    }.items():  # fmt: skip
        assert all(CATALOGUE[name].low <= value <= CATALOGUE[name].high for value in values), name
    assert not CATALOGUE["mean_annual_temperature"].high > 200, "kelvin must show"


def test_codes_that_the_issue_fixes() -> None:
    assert dict(CATALOGUE["solum_status"].flags) == {
        0: "steady",
        1: "bare",
        2: "no steady state",
        3: "capped at bedrock",
    }
    assert CATALOGUE["solum_status"].fill == NO_CLASS == 255
    assert CATALOGUE["soil_mask"].flags[1] == "soil"


def test_lookups_have_a_suggestion() -> None:
    assert variable("slope").units == "degree"
    with pytest.raises(InputError, match="no layer 'elevtion' in the catalogue; did you mean 'elevation'"):
        variable("elevtion")
    with pytest.raises(InputError, match=r"'snow' is not in the catalogue.*pass units= and kind="):
        describe_layer("snow")
    with pytest.raises(InputError, match="land_cover' is categorical in the catalogue, not 'continuous'"):
        describe_layer("land_cover", kind="continuous")
    own = describe_layer("vegetation", units="1", kind="categorical", flags={1: "alpine steppe"})
    assert (own.dtype, own.fill, own.flags[1]) == ("int16", -32768, "alpine steppe")
    assert describe_layer("biome", flags={3: "meadow"}).flags == {3: "meadow"}


@pytest.mark.parametrize(("kind", "dtype"), [("continuous", "int16"), ("circular", "uint8"), ("continuous", "float64"),
                                             ("categorical", "float32"), ("categorical", "bool")])  # fmt: skip
def test_a_type_that_does_not_hold_the_kind_is_rejected(kind: Kind, dtype: str) -> None:
    with pytest.raises(InputError, match=f"layer 'snow', {kind}: dtype is '{dtype}', expected one of"):
        describe_layer("snow", units="1", kind=kind, dtype=dtype)


def test_types_are_named_as_numpy_names_them() -> None:
    assert describe_layer("snow", units="1", kind="categorical", dtype="u2").dtype == "uint16"
    with pytest.raises(InputError, match="layer 'snow': kind is 'class', expected one of"):
        describe_layer("snow", units="1", kind="class")  # type: ignore[arg-type]


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CATALOGUE["elevation"] = variable("slope")  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        variable("elevation").units = "ft"  # type: ignore[misc]


def test_names_of_classes_are_used_only_where_they_are_as_many_as_the_codes() -> None:
    spaces = {"flag_values": [1, 2], "flag_meanings": "snow and ice barren"}
    assert flags_of(spaces) == {}
    assert class_names("land_cover", spaces) == {}
