"""Units: every spelling that a field table, a NetCDF attribute or a paper uses is the right number or an error."""

from __future__ import annotations

import numpy as np
import pytest

from tpsoil.errors import UnitsError
from tpsoil.units import conversion, convertible, formula_in, mass_fraction, read_unit, same_unit

YEARLY = (
    "mm", "mm/yr", "mm/year", "mm/a", "mm a-1", "mm yr-1", "mm y^-1", "mm year**-1", "mm·a⁻¹", "mm yr−1", "mm.a-1",
    "mm per year", "mm annum-1", "millimetres per year", "kg m-2", "kg/m2/yr", "kg m**-2 a**-1", "kg m⁻² a⁻¹",
)  # fmt: skip
LOSS = (
    "t ha-1 a-1", "t/ha/a", "t/ha/yr", "t ha^-1 yr^-1", "t ha^{-1} yr^{-1}", "t·ha⁻¹·a⁻¹", "t/(ha a)", "t/(ha*yr)",
    "Mg ha-1 a-1", "Mg/ha/yr", "tonnes ha-1 year-1", "tonnes per hectare per year", "t ha−1 yr−1", "t (ha a)-1",
)  # fmt: skip
CELSIUS = (
    "degC", "°C", "º C", "℃", "C", "Celsius", "celsius", "deg C", "deg_C", "degrees C", "degrees_C", "degree_Celsius",
    "degrees_celsius", "Degrees Celsius",
)  # fmt: skip
SHARE = (
    "%",
    "percent",
    "pct",
    "per cent",
    "wt%",
    "wt.%",
    "wt %",
    "mass %",
    "weight percent",
    "% (w/w)",
    "g/100g",
    "g 100g-1",
)
CONTENT = ("mg kg-1", "mg/kg", "mg/Kg", "ppm", "PPM", "ug/g", "µg g⁻¹", "µg/g", "mg.kg-1", "g t-1", "g/t")
NUMBERS = ("1", "", "-", "dimensionless", "fraction", "unitless", "ratio")


OTHERS = {
    "m": ("m", "metre", "Meters", "m a.s.l.", "masl"),
    "m-1": ("m-1", "1/m", "m^-1", "m**-1", "m⁻¹"),
    "kg m-3": ("kg m-3", "kg/m3", "kg/m^3", "kg/m³", "g/dm3", "kg m**-3"),
    "m s-1": ("m s-1", "m/s", "m s**-1", "m·s⁻¹"),
    "MJ mm ha-1 h-1 a-1": ("MJ mm/(ha h yr)", "MJ mm ha-1 hr-1 yr-1", "MJ·mm·ha−1·h−1·yr−1"),
    "t ha h ha-1 MJ-1 mm-1": ("t ha h/(ha MJ mm)", "t h MJ-1 mm-1", "Mg h MJ-1 mm-1"),
}


@pytest.mark.parametrize(
    ("texts", "expected", "period"),
    [
        (YEARLY, "mm", "year"),
        (LOSS, "t ha-1 a-1", ""),
        (CELSIUS, "degC", ""),
        (SHARE, "%", ""),
        (CONTENT, "mg kg-1", ""),
        (NUMBERS, "1", ""),
        *((texts, expected, "") for expected, texts in OTHERS.items()),
    ],
)
def test_spellings_of_one_unit_are_equal(texts: tuple[str, ...], expected: str, period: str) -> None:
    wrong = [text for text in texts if not same_unit(text, expected, period=period)]  # type: ignore[arg-type]
    assert not wrong


@pytest.mark.parametrize(
    ("came", "expected", "period", "value", "result"),
    [
        ("mm month-1", "mm", "year", 60.0, 720.0),
        ("mm/day", "mm", "year", 2.0, 730.485),
        ("kg m-2 s-1", "mm", "year", 1 / 31556952, 1.0),
        ("m", "mm", "year", 0.5, 500.0),
        ("K", "degC", "", 273.15, 0.0),
        ("Kelvin", "degC", "", 300.0, 26.85),
        ("degF", "degC", "", 212.0, 100.0),
        ("tenths of a degree C", "degC", "", -161.0, -16.1),
        ("0.1°C", "degC", "", -161.0, -16.1),
        ("0.1 K", "degC", "", 2731.5, 0.0),
        ("ft", "m", "", 1000.0, 304.8),
        ("cm", "m", "", 12345.0, 123.45),
        ("t km-2 yr-1", "t ha-1 a-1", "", 276.0, 2.76),
        ("kg/m2/yr", "t ha-1 a-1", "", 0.276, 2.76),
        ("t ha-1 month-1", "t ha-1 a-1", "", 0.23, 2.76),
        ("g/kg", "%", "", 250.0, 25.0),
        ("dg kg-1", "%", "", 250.0, 2.5),
        ("%", "mg kg-1", "", 3.0, 30000.0),
        ("g cm-3", "kg m-3", "", 1.35, 1350.0),
        ("10 kg m-3", "kg m-3", "", 135.0, 1350.0),
        ("0.0001", "1", "", 8500.0, 0.85),
        ("10^-4", "1", "", 8500.0, 0.85),
        ("km/h", "m s-1", "", 36.0, 10.0),
        ("mm/yr", "m a-1", "", 1.0, 0.001),
        ("mm ka-1", "m a-1", "", 1000.0, 0.001),
        ("MJ m-2 yr-1", "kJ m-2 a-1", "", 24.0, 24000.0),
        # Renard et al. 1997 print the rounded factors 17.02 and 0.1317
        ("hundreds of ft tonf in acre-1 h-1 a-1", "MJ mm ha-1 h-1 a-1", "", 100.0, 1701.9519495180976),
        (
            "ton acre h hundreds of acre-1 ft-1 tonf-1 in-1",
            "t ha h ha-1 MJ-1 mm-1",
            "",
            1.0,
            0.13171360760353093,
        ),
    ],
)
def test_units_convert(came: str, expected: str, period: str, value: float, result: float) -> None:
    factor, offset = conversion(came, expected, where="x", period=period)  # type: ignore[arg-type]
    # floats of exact fractions: one rounding in each product
    assert value * factor + offset == pytest.approx(result, rel=1e-12, abs=1e-10)
    assert not same_unit(came, expected, period=period)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("came", "expected", "period", "message"),
    [
        ("mm month-1", "mm", "", "another quantity"),
        ("mm a-1", "mm", "month", "another period"),
        ("mm d-1", "mm", "month", "another period"),
        ("mm", "t ha-1 a-1", "", "another quantity"),
        ("mg ha-1 a-1", "t ha-1 a-1", "", "write 'Mg ha-1' or 't ha-1' for megagrams"),
        ("ton/ha/yr", "t ha-1 a-1", "", "write 't' or 'Mg' for metric tonnes"),
        ("T/ha/yr", "t ha-1 a-1", "", "write 't' for tonnes"),
        ("t/ha yr", "t ha-1 a-1", "", "two readings"),
        ("t ha-1", "t ha-1 a-1", "", "another quantity"),
        ("Mg/kg", "mg kg-1", "", "megagram"),
        ("mg dm-3", "mg kg-1", "", "another quantity"),
        ("mmol kg-1", "mg kg-1", "", "'mmol' is not a known unit"),
        ("vol%", "%", "", "share of volume"),
        ("m3 m-3", "%", "", "share of volume"),
        ("g/kg", "1", "", "share of mass"),
        ("degC * 10", "degC", "", "not a unit"),
        ("tenths", "degC", "", "units='0.1 degC'"),
        ("banana", "degC", "", "not a known unit"),
        ("1", "m", "", "another quantity"),
        ("0 degC", "degC", "", "factor 0"),
        ("m/(s", "m s-1", "", "bracket"),
        ("%", "degree", "", "another quantity"),
    ],
)  # fmt: skip
def test_other_quantities_and_two_readings_are_rejected(came: str, expected: str, period: str, message: str) -> None:
    with pytest.raises(UnitsError, match=f"layer: units .* cannot be converted to '{expected}'.*") as caught:
        conversion(came, expected, where="layer", period=period)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert f"units='{expected}'" in str(caught.value)  # how to fix it
    assert not convertible(came, expected, period=period)  # type: ignore[arg-type]
    assert not same_unit(came, expected, period=period)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["% Fe2O3", "Fe2O3 %", "wt% Fe2O3", "Fe2O3 wt%", "% as Fe2O3", "%Fe2O3", "% Fe2O3T", "g/100g Fe2O3"]
)
def test_oxides_convert_by_molar_mass(text: str) -> None:
    # 2 x 55.845 / (2 x 55.845 + 3 x 15.999); without it iron is 43 % too high
    factor, _ = conversion(text, "mg kg-1", where="iron", substance="Fe")
    assert factor == pytest.approx(1e4 * 0.699431, rel=1e-6)


def test_oxides_of_another_element_are_rejected() -> None:
    with pytest.raises(UnitsError, match="Fe2O3 has no Mn"):
        conversion("% Fe2O3", "mg kg-1", where="manganese", substance="Mn")
    with pytest.raises(UnitsError, match="content of Fe2O3"):
        conversion("% Fe2O3", "%", where="sand")
    assert conversion("mg Fe kg-1", "mg kg-1", where="iron", substance="Fe").factor == 1.0
    assert conversion("ppm MnO", "mg kg-1", where="manganese", substance="Mn").factor == pytest.approx(
        0.77446, rel=1e-5
    )
    # 100.086 / 56.077
    assert conversion("% CaO", "%", where="carbonate", substance="CaCO3").factor == pytest.approx(1.78480, rel=1e-5)
    assert mass_fraction("Fe2O3", "Zn") == 0.0
    assert formula_in("Fe2O3_total (%)") == "Fe2O3"
    assert formula_in("Feature") == ""


def test_a_unit_that_only_the_user_knows() -> None:
    assert conversion("counts", "counts", where="x") == (1.0, 0.0)
    assert same_unit("counts", "counts")
    with pytest.raises(UnitsError, match="'counts' is not a known unit"):
        conversion("m", "counts", where="x")


def test_identity_is_exact_and_orders_do_not_matter() -> None:
    for text in LOSS:
        assert conversion(text, "a-1 t ha-1", where="x") == (1.0, 0.0)
    assert read_unit("mm ka-1").factor == read_unit("m Ma-1").factor


def test_random_products_never_fail_with_another_error() -> None:
    rng = np.random.default_rng(3)
    pieces = [*"mt/().*%K^e·¹⁻ ", "ha", "a-1", "°C", "10", "-1", "Fe2O3", " as ", "mg", "Mg", "yr", "0.1", "nan"]
    for _ in range(3000):
        text = "".join(rng.choice(pieces, size=rng.integers(1, 8)))
        assert convertible(text, "t ha-1 a-1") in {True, False}
