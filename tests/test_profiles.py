"""Soil profiles as surveys write them: every odd designation, position and depth is used, or named and counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tpsoil.errors import InputError
from tpsoil.ingest import read_profiles
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
    assert profiles.attrs["columns_left_out"] == ("clay",)
    assert profiles["owner"].tolist() == ["x", "x"]


@pytest.mark.data
def test_a_real_table_reports_what_it_assumes(data_folder: Path) -> None:
    path = data_folder / "tibet" / "soil_horizons_ksat.csv"
    with pytest.warns(UserWarning, match="of 23 profiles") as caught:
        profiles = read_profiles(path)
    text = " ".join(str(one.message) for one in caught)
    assert len(profiles) == 23
    assert profiles.attrs["problems"] == {
        "horizons overlap or leave a gap": 1,
        "its horizons have different positions": 4,
    }
    assert "2 of 23 profiles without designations" in text
    assert "16 of 23 profiles end at fixed sampling depths (0, 20 cm)" in text  # they were taken to end at C
    assert "5 of 23 profiles have no thickness" in text
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
