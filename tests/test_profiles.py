"""Soil profiles as surveys write them: every odd designation, position and depth is used, or named and counted."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.errors import InputError
from tpsoil.ingest import layout_table, read_profiles
from tpsoil.ingest.horizons import UNKNOWN, master_horizon


def horizons(*pits: list[tuple[object, float, float]]) -> pd.DataFrame:
    """One row a horizon: (designation, top, bottom) in cm."""
    rows = [
        {"profile": f"p{k}", "designation": name, "top": top, "bottom": bottom, "lon": 90.0 + k, "lat": 30.0}
        for k, pit in enumerate(pits)
        for name, top, bottom in pit
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("names", "masters"),
    [
        (("A", "Ap", "Ah1", "AB", "A/B", "E and Bt", "A1"), "AAAAAEA"),
        (("Bw", "Btkng", "2Bt2", "BC", "B'", "Bkqmz"), "BBBBBB"),
        (("C", "2C", "IIC", "IIIC1", "IVC", "II C", "Ck", "CR", "R", "Cr"), "CCCCCCCCRC"),
        (("ap", "bw", "c", "2c", "bt1"), "ABCCB"),
        (("Oi", "H", "L", "F", "Vt", "Gr", "P"), "OHLFVGP"),
    ],
)
def test_designations_as_surveys_write_them(names: tuple[str, ...], masters: str) -> None:
    assert [master_horizon(name) for name in names] == list(masters)


@pytest.mark.parametrize("name", ["Rock", "Clay", "bedrock", "mixed", "Blank", "Sand", "X", "12", "Other", "colluvium"])
def test_words_are_no_designations(name: str) -> None:
    assert master_horizon(name) == UNKNOWN


@pytest.mark.parametrize("name", ["No data", "no data", "NA", "-", "", None, np.nan, "Unknown"])
def test_no_designation_is_given(name: object) -> None:
    assert master_horizon(name) == ""


def test_old_and_lower_case_names_end_the_solum() -> None:
    table = horizons(
        [("A", 0, 20), ("B", 20, 50), ("IIC", 50, 120)],
        [("ah", 0, 20), ("bw", 20, 40), ("c", 40, 120)],
        [("A", 0, 20), ("C", 20, 50), ("No data", 50, 120)],
    )
    profiles = read_profiles(table)
    assert profiles["solum_thickness"].tolist() == pytest.approx([0.5, 0.4, 0.2])
    assert profiles["basis"].tolist() == ["designations"] * 3


def test_a_gap_in_the_names_above_the_parent_material_is_a_problem() -> None:
    table = horizons(
        [("A", 0, 20), ("No data", 20, 50), ("C", 50, 120)],
        [("A", 0, 20), ("Rock", 20, 50)],
        [("A", 0, 20), ("C", 20, 50)],
    )
    with pytest.warns(UserWarning, match=r"2 of 3 profiles have no thickness: .*\(Rock\)"):
        profiles = read_profiles(table)
    assert profiles["problem"].tolist() == ["a horizon has no designation", "a designation is not known", ""]
    assert profiles.attrs["unknown_designations"] == {"Rock": 1}


def test_one_pit_with_two_positions_leaves_the_others_theirs() -> None:
    table = horizons([("A", 0, 20), ("C", 20, 50)], [("A", 0, 30), ("C", 30, 50)], [("A", 0, 40), ("C", 40, 50)])
    table.loc[1, "lon"] = 95.0
    table.loc[3, "lon"] += 0.0002
    table.loc[5, "lat"] = np.nan
    with pytest.warns(UserWarning, match="1 of 3 profiles have no thickness: 1 its horizons have different positions"):
        profiles = read_profiles(table)
    assert profiles["lon"].tolist() == pytest.approx([np.nan, 91.0, 92.0], nan_ok=True)
    assert profiles["solum_thickness"].tolist() == pytest.approx([np.nan, 0.3, 0.4], nan_ok=True)
    assert profiles.attrs["problems"] == {"its horizons have different positions": 1}


def test_a_pit_of_sixty_metres_is_no_solum() -> None:
    with pytest.warns(UserWarning, match="1 thicker than 20 m"):
        profiles = read_profiles(horizons([("A", 0, 20), ("B", 20, 6000)], *[[("A", 0, 20), ("C", 20, 90)]] * 2))
    assert np.isnan(profiles["solum_thickness"][0])
    with pytest.warns(UserWarning, match="1 thicker than 20 m"):
        profiles = read_profiles(pd.DataFrame({"thickness": [60.0, 0.5, 0.7, 0.6], "lon": 90.0, "lat": 30.0}))
    assert profiles["solum_thickness"].notna().tolist() == [False, True, True, True]


def test_thickness_from_depths_alone_is_reported() -> None:
    table = horizons([(None, 0, 20), (None, 20, 50)], [("A", 0, 30), ("C", 30, 50)]).assign(
        clay=[1, 2, 3, 4], owner="x"
    )
    with pytest.warns(UserWarning, match="1 of 2 profiles without designations: the deepest horizon"):
        profiles = read_profiles(table)
    assert profiles["basis"].tolist() == ["depths", "designations"]
    assert profiles["censored"].tolist() == [True, False]
    assert profiles.attrs["assumption"].startswith(
        "1 of 2 profiles without designations: the deepest horizon is a lower"
    )
    with pytest.raises(InputError, match="undesignated is 'end', expected one of .'limit', 'complete'"):
        read_profiles(table, undesignated="end")  # type: ignore[arg-type]
    assert profiles.attrs["columns_left_out"] == ("clay",)
    assert profiles["owner"].tolist() == ["x", "x"]


@pytest.mark.data
def test_a_real_table_reports_what_it_assumes(data_folder: Path) -> None:
    path = data_folder / "tibet" / "soil_horizons_ksat.csv"
    with pytest.warns(UserWarning, match="of 23 profiles|rows repeat") as caught:
        profiles = read_profiles(path)
    text = " ".join(str(one.message) for one in caught)
    assert len(profiles) == 23
    assert profiles.attrs["problems"] == {"its horizons have different positions": 4}
    assert profiles.attrs["layout"] == "ncss"
    assert profiles.attrs["duplicate_horizons"] == 22  # replicates of one depth; they were taken for overlaps
    assert "3 of 23 profiles without designations" in text
    assert "16 of 23 profiles end at fixed sampling depths (0, 20 cm)" in text  # they were taken to end at C
    assert "4 of 23 profiles have no thickness" in text
    assert profiles[["lon", "lat"]].notna().all(axis=1).sum() == 19


def test_positions_as_text_name_the_line() -> None:
    table = horizons([("A", 0, 20), ("C", 20, 50)]).assign(lon=["90", "ninety"])
    with pytest.raises(InputError, match="column 'lon' has text in line 3: 'ninety'"):
        read_profiles(table)


@pytest.mark.parametrize("depths", [[(7, 3), (3, 0)], [(-7, -3), (-3, 0)]], ids=["upward", "negative"])
def test_organic_horizons_measured_upward_begin_the_solum(depths: list[tuple[int, int]]) -> None:
    rows = [
        ("a", "Oi", *depths[0]),
        ("a", "Oe", *depths[1]),
        ("a", "A", 0, 15),
        ("a", "Bw", 15, 40),
        ("a", "C", 40, 90),
    ]
    rows += [("b", "O", 0, 4), ("b", "Bw", 4, 30), ("b", "C", 30, 60)]
    table = pd.DataFrame(rows, columns=["profile", "designation", "top", "bottom"]).assign(lon=91.0, lat=30.0)
    profiles = read_profiles(table)
    assert profiles["solum_thickness"].tolist() == pytest.approx([0.47, 0.30])
    assert profiles["problem"].tolist() == ["", ""]
    assert profiles.attrs["organic_upward"] == 1


def test_a_mineral_horizon_that_is_turned_over_stays_a_problem() -> None:
    rows = [("a", "A", 15, 0), ("a", "Bw", 15, 40), ("a", "C", 40, 90)]
    table = pd.DataFrame(rows, columns=["profile", "designation", "top", "bottom"]).assign(lon=91.0, lat=30.0)
    with pytest.warns(UserWarning, match="bottom is not below its top"):
        assert np.isnan(read_profiles(table)["solum_thickness"]).all()


def test_pits_that_end_at_fixed_sampling_depths_are_censored() -> None:
    rows = [(i, u, v) for i in range(8) for u, v in ((0, 10), (10, 20), (20, 40)) if v <= (40 if i % 2 else 20)]
    table = pd.DataFrame(rows, columns=["profile", "top", "bottom"]).assign(lon=91.0, lat=30.0)
    with pytest.warns(UserWarning, match=r"8 of 8 profiles end at fixed sampling depths \(0, 10, 20, 40 cm\)"):
        profiles = read_profiles(table)
    assert profiles["censored"].all()
    assert set(profiles["basis"]) == {"sampling depths"}
    assert profiles["solum_thickness"].tolist() == pytest.approx([0.2, 0.4] * 4)
    assert profiles.attrs["sampling_depths_m"] == pytest.approx((0.0, 0.1, 0.2, 0.4))
    described = table.assign(designation="A")
    assert set(read_profiles(described)["basis"]) == {"designations"}


# ---------------------------------------------------------------- layouts of databases

PITS_OF = {
    "wosis": ("profile_id", "upper_depth", "lower_depth", "layer_name", "X", "Y"),
    "ncss": ("site_key", "hzn_top", "hzn_bot", "hzn_desgn", "longitude_decimal_degrees", "latitude_decimal_degrees"),
    "isric": ("WISE3_ID", "TOPDEP", "BOTDEP", "DESIG", "LONDD", "LATDD"),
    "isric ": ("ProfileID", "UpDpth", "LowDpth", "HorDes", "X_LonDD", "Y_LatDD"),
}
"""Column names of tables as the databases export them."""
ROWS = [("p1", 0, 20, "Ah"), ("p1", 20, 55, "Bw"), ("p1", 55, 90, "2C"), ("p2", 0, 30, "A"), ("p2", 30, 70, "Bt")]


def database(layout: str, rows: list[tuple[str, float, float, str]] | None = None) -> pd.DataFrame:
    profile, top, bottom, designation, longitude, latitude = PITS_OF[layout]
    table = pd.DataFrame(rows or ROWS, columns=[profile, top, bottom, designation])
    table[longitude], table[latitude] = 91.25, 30.5
    if layout == "wosis":
        table["profile_layer_id"] = range(len(table))
    return table


@pytest.mark.parametrize("named", [True, False], ids=["named", "recognised"])
@pytest.mark.parametrize("layout", PITS_OF)
def test_tables_of_databases_are_read_by_their_column_names(layout: str, named: bool) -> None:
    profiles = read_profiles(database(layout), layout=layout.strip() if named else None)  # type: ignore[arg-type]
    assert profiles["profile_id"].tolist() == ["p1", "p2"]
    assert profiles["solum_thickness"].tolist() == pytest.approx([0.55, 0.70])
    assert profiles["censored"].tolist() == [False, True]
    assert profiles[["lon", "lat"]].to_numpy().tolist() == [[91.25, 30.5]] * 2
    assert profiles.attrs["layout"] == layout.strip()
    assert set(profiles.attrs["layout_columns"].values()) <= set(PITS_OF[layout])


def test_places_of_wosis_are_degrees_and_not_metres() -> None:
    table = database("wosis")
    assert read_profiles(table)[["lon", "lat"]].notna().all(axis=None)
    with pytest.warns(UserWarning, match="without designations"):  # a table of one's own, in a grid's coordinates
        metres = read_profiles(table.drop(columns="profile_layer_id"))
    assert {"x", "y"} <= set(metres.columns)
    both = read_profiles(table.assign(longitude=91.26, latitude=30.51))
    assert both[["lon", "lat"]].iloc[0].tolist() == [91.26, 30.51]
    assert not {"X", "Y", "x", "y"} & set(both.columns)


@pytest.mark.parametrize("layout", ["ncss", "isric"])
def test_horizons_are_joined_with_their_sites(layout: str, tmp_path: Path) -> None:
    table = database(layout)
    key, *_, longitude, latitude = PITS_OF[layout]
    sites = table[[key, longitude, latitude]].drop_duplicates().assign(country="CN")
    table.drop(columns=[longitude, latitude]).to_csv(tmp_path / "layers.csv", index=False)
    sites.rename(columns={key: key.lower()}).to_csv(tmp_path / "sites.csv", index=False)
    profiles = read_profiles(tmp_path / "layers.csv", sites=tmp_path / "sites.csv")
    assert profiles["lon"].tolist() == [91.25, 91.25]
    assert profiles["country"].tolist() == ["CN", "CN"]
    (tmp_path / "one.csv").write_text((tmp_path / "sites.csv").read_text().rsplit("p2", 1)[0])
    with pytest.warns(UserWarning, match="2 horizons have no site in the table of sites"):
        alone = read_profiles(tmp_path / "layers.csv", sites=tmp_path / "one.csv")
    assert alone["lon"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match=r"sites\): 4 rows are given twice"):
        read_profiles(table, sites=pd.concat([sites, sites]))
    with pytest.raises(InputError, match="no common column of the profile; expected one of"):
        read_profiles(table, sites=sites.rename(columns={key: "name"}))


def test_a_layout_that_does_not_fit_names_what_it_expects() -> None:
    with pytest.raises(InputError, match="layout 'isric' .* top, bottom; expected top: one of TOPDEP, UpDpth, UHDICM"):
        read_profiles(database("ncss").rename(columns={"site_key": "WISE3_ID"}), layout="isric")
    with pytest.raises(InputError, match="layout is 'wise', expected one of"):
        read_profiles(database("ncss"), layout="wise")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="columns names a thickness; give one of them"):
        read_profiles(database("ncss"), layout="ncss", columns={"thickness": "hzn_bot"})
    renamed = database("ncss").rename(columns={"hzn_top": "from"})
    assert read_profiles(renamed, layout="ncss", columns={"top": "from"})["solum_thickness"].notna().all()


def test_every_column_name_has_its_source_or_is_marked() -> None:
    table = layout_table()
    assert set(table["layout"]) == {"wosis", "ncss", "isric"}
    assert (table["source"].ne("not verified") == table["verified"]).all()
    for layout, roles in table.groupby("layout")["role"]:
        assert {"profile", "top", "bottom", "designation", "longitude", "latitude"} == set(roles), layout
    old = database("isric").rename(columns={"WISE3_ID": "PRID"})
    with pytest.warns(UserWarning, match="columns PRID are read by names that were not verified"):
        assert read_profiles(old).attrs["layout_unverified"] == ("PRID",)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(sorted(PITS_OF)))
def test_odd_files_of_databases_lose_nothing(seed: int, layout: str) -> None:
    """Any separator, decimal commas, organic horizons upward, missing depths, repeated rows: counted, and the same."""
    rng = np.random.default_rng(seed)
    profile, top, bottom, designation, *_ = PITS_OF[layout]
    rows, truth = [], {}
    for number in range(int(rng.integers(2, 6))):
        name, organic = f"pit-{number}", float(rng.integers(0, 2) * rng.integers(1, 9))
        limits = np.r_[0, np.cumsum(rng.uniform(5, 40, 3)).round(1)]
        pit = [(name, limits[k], limits[k + 1], letter) for k, letter in enumerate(("A", "Bw", "C"))]
        if organic:
            pit.insert(0, (name, organic, 0.0, "Oe"))
        truth[name] = (organic + limits[2]) / 100
        if rng.random() < 0.3:
            pit[-1] = (name, pit[-1][1], np.nan, "C")  # not reached, and not needed
        if rng.random() < 0.2:
            pit[-2] = (name, pit[-2][1], np.nan, "Bw")
            truth[name] = np.nan
        rows += pit + pit[:1] * int(rng.integers(0, 3))
    table = database(layout, rows)
    repeated = int(table.duplicated([profile, top, bottom, designation]).sum())
    separator = str(rng.choice([",", ";", "\t", "|"]))
    decimal = str(rng.choice([".", ","])) if separator != "," else "."
    text = table.sample(frac=1.0, random_state=seed % 1000).to_csv(
        index=False, sep=separator, decimal=decimal, na_rep=str(rng.choice(["", "NA"])),
        header=[str(c).lower() if seed % 2 else str(c) for c in table.columns],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        path = Path(folder) / "layers.txt"
        path.write_text(text)
        profiles = read_profiles(path, layout=layout.strip()).set_index("profile_id")  # type: ignore[arg-type]
    assert sorted(profiles.index) == sorted(truth)
    for name, expected in truth.items():
        assert profiles.loc[name, "solum_thickness"] == pytest.approx(expected, nan_ok=True)
    assert profiles.attrs.get("duplicate_horizons", 0) == repeated
    assert (profiles["problem"] != "").sum() == sum(np.isnan(value) for value in truth.values())
    assert profiles["lon"].tolist() == [91.25] * len(truth)


def test_codes_of_missing_depths_and_places_are_missing_and_counted() -> None:
    table = database("isric")
    table.loc[1, "BOTDEP"] = -9999
    table.loc[3:, "LONDD"] = -9999
    with pytest.warns(UserWarning, match="3 depths and coordinates are codes|a horizon has no depth"):
        profiles = read_profiles(table)
    assert profiles.attrs["missing_codes"] == 3
    assert profiles["problem"].tolist() == ["a horizon has no depth", ""]
    assert profiles["lon"].isna().tolist() == [False, True]


@pytest.mark.parametrize("kind", ["horizons", "thickness"])
def test_the_named_column_names_the_profiles_beside_another_identifier(kind: str) -> None:
    """WoSIS has profile_id and profile_code: the named one was replaced by the other, or there were two columns."""
    table = horizons([("A", 0, 20), ("C", 20, 50)], [("A", 0, 30), ("C", 30, 50)])
    table = table.assign(profile_id=np.repeat([7, 8], 2)).rename(columns={"profile": "profile_code"})
    if kind == "thickness":
        table = table.drop_duplicates("profile_code").assign(thickness=[0.2, 0.3]).drop(columns=["top", "bottom"])
    profiles = read_profiles(table, columns={"profile": "profile_code"})
    assert list(profiles.columns).count("profile_id") == 1
    assert profiles["profile_id"].tolist() == ["p0", "p1"]
    assert profiles["solum_thickness"].tolist() == pytest.approx([0.2, 0.3])
    assert "profile_id" in profiles.attrs["columns_left_out"]
