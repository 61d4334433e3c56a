"""Odd tables of samples: positions, limits, substituted limits, dates and depths, in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import Transformer

from tpsoil.errors import InputError, UnitsError
from tpsoil.ingest import read_dates, read_samples, samples_at_depth
from tpsoil.ingest.sample_values import repeated_minimum
from tpsoil.micronutrients import map_elements, train_elements
from tpsoil.points import position_pairs
from tpsoil.soil_properties import PROPERTIES, SoilProperty, known_property, soil_property

PLACES = pd.DataFrame({"lon": [91.0, 92.5, 93.25], "lat": [30.0, 30.5, 29.75], "Fe": [31000.0, 28000.0, 30500.0]})


def projected(crs: str) -> pd.DataFrame:
    east, north = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(PLACES["lon"], PLACES["lat"])
    return pd.DataFrame({"Easting": east, "Northing": north, "Fe": PLACES["Fe"]})


NAMES = [
    ("long", "lat"), ("Lon", "LAT"), ("Longitude (deg)", "Latitude (deg)"), ("lng", "lat"),
    ("decimalLongitude", "decimalLatitude"), ("longitude [°E]", "latitude [°N]"),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_degrees_under_their_usual_names(names: tuple[str, str]) -> None:
    pairs = position_pairs(pd.DataFrame(columns=[names[0], "Fe", names[1]]))
    assert [(pair.east, pair.north, pair.degrees) for pair in pairs] == [(*names, True)]


@pytest.mark.parametrize("crs", ["EPSG:32646", "ESRI:102025", "EPSG:3857"])
def test_projected_coordinates_become_degrees(crs: str) -> None:
    tidy = read_samples(projected(crs), ["Fe"], crs=crs)
    np.testing.assert_allclose(tidy[["lon", "lat"]], PLACES[["lon", "lat"]], atol=1e-9)
    assert {"original_x", "original_y"} <= set(tidy)
    assert not {"Easting", "x"} & set(tidy)
    named = projected(crs).rename(columns={"Easting": "Rechtswert", "Northing": "Hochwert"})
    again = read_samples(named, ["Fe"], crs=crs, coordinates=("Rechtswert", "Hochwert"))
    pd.testing.assert_frame_equal(again, tidy)


def test_a_crs_of_another_place_and_swapped_axes() -> None:
    swapped = projected("EPSG:32646").rename(columns={"Easting": "northing", "Northing": "easting"})
    with pytest.raises(InputError, match=r"3 of 3 positions lie outside the area of EPSG:32646 .*line 2 .*are swapped"):
        read_samples(swapped, ["Fe"], crs="EPSG:32646")
    kilometres = projected("EPSG:3035")
    with pytest.raises(InputError, match="outside the area of EPSG:3035 .*of another CRS, or in km"):
        read_samples(kilometres, ["Fe"], crs="EPSG:3035")
    with pytest.raises(InputError, match="crs is 'EPSG:999999', expected a CRS such as"):
        read_samples(projected("EPSG:32646"), ["Fe"], crs="EPSG:999999")
    with pytest.raises(InputError, match=r"no columns x and y \(or easting and northing\); name them by"):
        read_samples(PLACES, ["Fe"], crs="EPSG:32646")


def test_projected_positions_of_gemas_are_its_degrees(data_folder: Path) -> None:
    tidy = read_samples(data_folder / "europe" / "gemas.csv", ["Fe"], coordinates=("Xcoord", "Ycoord"), crs="EPSG:3035")
    own = pd.read_csv(data_folder / "europe" / "gemas.csv")
    apart = np.hypot(tidy["lon"] - own["longitude"], tidy["lat"] - own["latitude"])
    assert float(np.median(apart)) < 1e-3
    assert "at_minimum" in tidy.attrs


def test_cells_below_a_limit() -> None:
    table = pd.DataFrame({"Zn": ["<5", "< 5", "≤5", "<LOD", "BDL", "below detection limit", "41", "38,5"]})
    with pytest.raises(InputError, match="text in line 9: '38,5'.*a decimal comma must be a point"):
        read_samples(table, ["Zn"])
    tidy = read_samples(table[:-1], ["Zn"], limits={"Zn": 7.0})
    assert tidy["censored"].tolist() == [True] * 6 + [False]
    assert tidy["detection_limit"].tolist() == [5.0, 5.0, 5.0, 7.0, 7.0, 7.0, 7.0]
    without = read_samples(table[:-1], ["Zn"])
    assert np.isnan(without["detection_limit"][3:6]).all()
    assert without["censored"][3:6].all()
    with pytest.raises(InputError, match="text in line 3: '>900'.*above the range of the instrument"):
        read_samples(pd.DataFrame({"Zn": ["41", ">900"]}), ["Zn"])


def test_a_substituted_limit_is_recognised() -> None:
    values = [2.5] * 4 + list(np.linspace(5.5, 90, 36))
    with pytest.warns(UserWarning, match=r"4 of 40 values of 'Zn' \(10 %\) are the minimum 2.5, .*kept as measured"):
        tidy = read_samples(pd.DataFrame({"Zn": values}), ["Zn"])
    assert tidy["value"].tolist() == values
    assert tidy.attrs["at_minimum"] == {
        "Zn": {"value": 2.5, "count": 4, "valid": 40, "limit": 5.0, "censored": False}
    }  # fmt: skip
    with pytest.warns(UserWarning, match="they are censored at 5"):
        tidy = read_samples(pd.DataFrame({"Zn": values}), ["Zn"], at_minimum="censor")
    assert tidy["censored"].sum() == 4
    assert set(tidy.loc[tidy["censored"], "detection_limit"]) == {5.0}
    assert tidy.attrs["counts"]["Zn"] == {"rows": 40, "valid": 36, "missing": 0, "censored": 4, "negative": 0}
    # A value between the minimum and twice it was detected: the limit is not above it.
    assert repeated_minimum([2.5] * 4 + [4.0, 8, 9]).limit == 4.0
    # 5 % and less, two values, zeros, and a constant are no substituted limits.
    for none in ([2.5] * 3 + [7.0] * 57, [2.5] * 2 + [7.0, 8], [0.0] * 9 + [1.0], [3.0] * 9, []):
        assert repeated_minimum(none) is None


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2019-07-14", "2020-01-02"], ["2019-07-14", "2020-01-02"]),
        (["14.07.2019", "02.01.2020"], ["2019-07-14", "2020-01-02"]),
        (["07/14/2019", "01/02/2020"], ["2019-07-14", "2020-01-02"]),
        ([2019, 2020], ["2019-01-01", "2020-01-01"]),
        ([2019.0, np.nan], ["2019-01-01", "NaT"]),
        (["2019-07", "NA"], ["2019-07-01", "NaT"]),
    ],
)
def test_dates(texts: list[object], expected: list[str]) -> None:
    dates = read_dates(pd.Series(texts, name="day"), where="s.csv")
    assert [str(date)[:10] for date in dates] == expected


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["04.07.2019", "02.08.2019"], "'04.07.2019' with two readings, day or month first; write them as year-month"),
        (["2019-07-14", "14.07.2019"], "no date in line 3: '14.07.2019', expected one format"),
        (["2019-07-14", "summer"], "no date in line 3: 'summer'"),
        (["14.07.2019", "31.02.2019"], "no date in line 3: '31.02.2019'"),
    ],
)
def test_dates_that_are_none(texts: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_dates(pd.Series(texts, name="day"), where="s.csv")


def test_several_depths_become_one_interval() -> None:
    table = pd.DataFrame(
        {
            "site": ["a", "a", "b", "b", "c", "d"],
            "replicate": 1,
            "upper": [0, 20, 0, 10, 5, 30],
            "lower": [20, 50, 10, 40, 40, 60],
            "Fe": ["31000", "28000", "<500", "<500", "30500", "29000"],
        }
    )
    with pytest.raises(InputError, match="given twice"):  # two depths are no replicates
        read_samples(table, ["Fe"])
    tidy = read_samples(table.assign(replicate=[1, 2, 1, 2, 1, 1]), ["Fe"]).assign(replicate=1)
    top = samples_at_depth(tidy)
    assert top["site"].tolist() == ["a", "b", "c"]  # d begins below
    assert top["censored"].tolist() == [False, True, False]
    assert top["detection_limit"][1] == 500
    assert 31000 < top["value"][0] < 31500
    assert top["value"][2] == 30500  # half of the interval is sampled
    assert top[["upper", "lower"]].drop_duplicates().values.tolist() == [[0, 10]]
    assert top.attrs["depths"] == {"Fe": {"profiles": 4, "without_value": 1, "censored_depths": 1}}
    in_metres = tidy.assign(upper=tidy["upper"] / 100, lower=tidy["lower"] / 100)
    again = samples_at_depth(in_metres, depths=("upper", "lower", "m"))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(again, top)
    with pytest.raises(InputError, match=r"1 samples have no depth interval \(line 3\)"):
        samples_at_depth(tidy.assign(lower=[20, 10, 10, 40, 40, 60]))
    with pytest.raises(InputError, match="no columns of upper and lower depth; name them"):
        samples_at_depth(tidy.drop(columns="upper"))
    with pytest.raises(InputError, match="100 to 120 cm: none of 4 profiles has a usable depth for Fe"):
        samples_at_depth(tidy, (100, 120))


def test_a_censored_depth_stands_for_the_interval_as_a_measured_one_does() -> None:
    tidy = pd.DataFrame(
        {
            "site": ["a", "b", "b", "c", "c", "d", "e"],
            "replicate": 1,
            "element": "Fe",
            "upper": [0, 0, 5, 0, 5, 0, 0],
            "lower": [2, 5, 10, 5, 10, 2, 20],
            "value": [np.nan, np.nan, np.nan, np.nan, 900.0, 700.0, 800.0],
            "detection_limit": [500.0, 500.0, np.nan, 500.0, np.nan, np.nan, np.nan],
            "censored": [True, True, False, True, False, False, False],
        }
    )
    top = samples_at_depth(tidy).set_index("site")
    assert top.index.tolist() == ["b", "c", "e"]  # a and d are a fifth of the interval
    assert top["censored"].tolist() == [True, False, False]
    assert np.isnan(top["value"]["b"])  # half the limit is no measurement: the other depth has no value
    assert 250 < top["value"]["c"] < 900


@pytest.mark.parametrize(
    ("symbol", "unit", "value", "expected"),
    [
        ("Pb", None, 31.0, 31.0), ("Cd", "ug kg-1", 210.0, 0.21), ("Cr", "mg kg-1", 62.0, 62.0),
        ("Co", "% CoO", 0.001, 7.8648), ("As", "ppm", 8.5, 8.5), ("pH", None, 7.9, 7.9), ("SOC", "g kg-1", 31.0, 3.1),
        ("OC", None, 2.4, 2.4), ("clay", "g kg-1", 180.0, 18.0), ("Fe", "% Fe2O3", 5.0, 34971.6),
        ("bulk_density", "g cm-3", 1.31, 1310.0),
    ],
)  # fmt: skip
def test_any_property_with_its_unit(symbol: str, unit: str | None, value: float, expected: float) -> None:
    units = None if unit is None else {symbol: unit}
    tidy = read_samples(pd.DataFrame({symbol: [value, 1.1 * value]}), [symbol], units=units)
    assert tidy["value"][0] == pytest.approx(expected, rel=1e-4)


def test_a_property_of_ones_own() -> None:
    own = {"delta13C": SoilProperty("delta13C", units="permille", low=-60, high=20)}
    table = pd.DataFrame({"delta13C": [-25.1, -23.0], "CEC": [12.0, 18.0]})
    assert read_samples(table, ["delta13C"], properties=own)["value"].tolist() == [-25.1, -23.0]
    assert read_samples(table, ["CEC"])["value"].tolist() == [12.0, 18.0]
    with pytest.raises(
        UnitsError, match=r"'delta13C' is outside -60 to 20 permille in 1 values \(line 3\), such as -230"
    ):
        read_samples(table.assign(delta13C=[-25.1, -230.0]), ["delta13C"], properties=own)
    with pytest.raises(UnitsError, match=r"'pH' is outside 0 to 14 in 1 values \(line 3\), such as 79"):
        read_samples(pd.DataFrame({"pH": [6.5, 79.0]}), ["pH"])
    with pytest.raises(InputError, match="no soil property 'Xy'.*elements.properties.Xy"):
        soil_property("Xy")
    with pytest.raises(InputError, match="the layer's name is 'a b'"):
        SoilProperty("a b")


def test_ph_is_neither_logged_nor_labelled_a_content() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    noisy = np.clip(table["slope"] + rng.normal(0, 0.1, 60), 0, 1)
    table["pH"], table["Cd"] = 5 + 3 * noisy, 0.1 + 0.4 * noisy
    table["delta13C"] = -28 + 4 * noisy
    own = {"delta13C": SoilProperty("delta13C", layer="carbon_13", units="permille", low=-60, high=20)}
    trained = train_elements(table, ["pH", "Cd", "delta13C"], ["slope"], trees=10, properties=own)
    used = {name: (forest.settings["transform"], forest.units) for name, forest in trained.items()}
    assert used == {"pH": ("none", "1"), "Cd": ("log10", "mg kg-1"), "delta13C": ("none", "permille")}
    cube = xr.Dataset({"slope": (("y", "x"), np.full((2, 2), 0.5))})
    maps = map_elements(trained, cube, properties=own)
    assert {"soil_ph", "cadmium", "carbon_13", "carbon_13_lower"} <= set(maps)
    assert [maps[name].attrs["units"] for name in ("soil_ph", "cadmium", "carbon_13")] == ["1", "mg kg-1", "permille"]
    assert "geometric mean of the activities" in maps["soil_ph"].attrs["scale"]
    assert 6 < float(maps["soil_ph"][0, 0]) < 7
    assert float(maps["carbon_13"].max()) < -24


def test_known_properties() -> None:
    assert {"Pb", "Cd", "Cr", "Co", "As", "pH", "SOC"} <= set(PROPERTIES)
    assert not PROPERTIES["pH"].log
    assert "without another logarithm" in PROPERTIES["pH"].scale
    layers = [one.layer for one in PROPERTIES.values()]
    assert len(set(layers)) == len(layers)
    assert known_property("soil_ph") == known_property("pH") == PROPERTIES["pH"]


@pytest.mark.parametrize("name", ["Zn_limit", "Zn_LOD", "zn_lod"])
def test_the_column_of_detection_limits_in_any_case_of_letters(name: str) -> None:
    table = pd.DataFrame({"site": ["a", "b", "c"], "Zn": ["<LOD", "48", "52"], name: [5.0, 5.0, 5.0]})
    tidy = read_samples(table, ["Zn"])
    assert tidy["detection_limit"].tolist() == [5.0, 5.0, 5.0]
    assert tidy["censored"].tolist() == [True, False, False]
    assert name not in tidy


def test_signs_of_chinese_tables() -> None:
    table = pd.DataFrame(
        {"经度（°E）": [91.0, 92.0, 93.0], "纬度（°N）": 31.0, "Zn": ["＜5", "未检出", "48"], "Zn_limit": 4.0}
    )
    tidy = read_samples(table, ["Zn"], site=None)
    assert tidy["detection_limit"].tolist() == [5.0, 4.0, 4.0]
    assert tidy["censored"].tolist() == [True, True, False]
    assert [pair.names for pair in position_pairs(tidy)] == [("lon", "lat")]


@pytest.mark.parametrize("option", ["negative", "empty", "at_minimum"])
def test_an_unknown_choice_is_rejected(option: str) -> None:
    """A misspelt `negative` censored, without a word."""
    table = pd.DataFrame({"site": ["a", "b"], "Zn": [-1.0, 48.0]})
    with pytest.raises(InputError, match=f"samples: {option} is 'drop', expected one of"):
        read_samples(table, ["Zn"], **{option: "drop"})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["units", "limits"])
def test_options_of_an_element_that_is_not_read_are_rejected(option: str) -> None:
    """units={"ZN": "%"} had no effect on Zn."""
    table = pd.DataFrame({"site": ["a", "b"], "Zn": [40.0, 48.0]})
    value = {"units": "g kg-1", "limits": 5.0}[option]
    with pytest.raises(InputError, match=f"samples: {option}: no element 'ZN'; there are: Zn"):
        read_samples(table, ["Zn"], **{option: {"ZN": value}})  # type: ignore[arg-type]
