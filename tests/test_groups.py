"""Tukey-Kramer, Games-Howell and letters: the sheet, other libraries, hand-worked tables, Piepho's rule."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.errors import InputError
from tpsoil.micronutrients import classes_of, compact_letters, compare_groups

SHEET = [[1, 2, 3, 4], [2, 3, 4, 5], [6, 7, 8, 9]]


def test_the_vector_of_the_sheet() -> None:
    result = compare_groups(SHEET, test="tukey")
    p = result.pairs.set_index(["first", "second"])["p"]
    assert p[("2", "1")] == pytest.approx(0.5402482, abs=1e-6)
    assert p[("3", "1")] == pytest.approx(0.0010202, abs=1e-6)
    assert p[("3", "2")] == pytest.approx(0.0045123, abs=1e-6)
    assert result.mse == pytest.approx(1.6666667, abs=1e-7)
    half_width = (result.pairs["high"] - result.pairs["difference"]).to_numpy()
    np.testing.assert_allclose(half_width, 2.548741, atol=1e-6)
    assert result.groups["letters"].to_dict() == {"3": "a", "2": "b", "1": "b"}


def test_unequal_groups_as_scipy_and_statsmodels() -> None:
    from scipy.stats import tukey_hsd
    from statsmodels.stats.multicomp import pairwise_tukeyhsd

    rng = np.random.default_rng(0)
    groups = [rng.normal(m, 1, n) for m, n in ((0, 12), (0.8, 30), (2, 7), (2.2, 18))]
    result = compare_groups(groups, test="tukey")
    theirs = tukey_hsd(*groups)
    other = pairwise_tukeyhsd(np.concatenate(groups), np.repeat(list("1234"), [len(g) for g in groups]))
    for _, row in result.pairs.iterrows():
        i, j = int(row["first"]) - 1, int(row["second"]) - 1
        assert row["p"] == pytest.approx(theirs.pvalue[i, j], abs=1e-8)
        low, high = theirs.confidence_interval().low[i, j], theirs.confidence_interval().high[i, j]
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-6)
    assert sorted(result.pairs["p"]) == pytest.approx(sorted(other.pvalues), abs=1e-6)


def test_games_howell_as_scipy_and_by_its_formula() -> None:
    from scipy.stats import studentized_range, tukey_hsd

    rng = np.random.default_rng(1)
    groups = [rng.normal(m, s, n) for m, s, n in ((0, 0.3, 25), (0.6, 3, 12), (1.5, 1, 40))]
    result = compare_groups(groups)
    assert result.test == "games-howell"  # variances differ a hundredfold
    assert result.levene_p < 0.05
    for _, row in result.pairs.iterrows():
        a, b = groups[int(row["first"]) - 1], groups[int(row["second"]) - 1]
        va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        nu = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        t = abs(a.mean() - b.mean()) / np.sqrt(va + vb)
        assert row["p"] == pytest.approx(float(studentized_range.sf(t * np.sqrt(2), 3, nu)), abs=1e-9)
    try:
        theirs = tukey_hsd(*groups, equal_var=False)
    except TypeError:
        return  # scipy before 1.16
    for _, row in result.pairs.iterrows():
        i, j = int(row["first"]) - 1, int(row["second"]) - 1
        assert row["p"] == pytest.approx(theirs.pvalue[i, j], abs=1e-7)


def test_welch_for_two_groups_is_the_t_test() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, 14), rng.normal(1, 4, 9)
    result = compare_groups([a, b], test="games-howell")
    assert result.anova_p == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)
    assert result.pairs["p"].iloc[0] == pytest.approx(result.anova_p, rel=1e-6)


# -- letters

# Six groups by descending mean; the pairs that differ; letters worked by hand.
TABLES = {
    # Neighbours do not differ, others do: a chain.
    "chain": ("AC AD AE AF BD BE BF CE CF DF", ["a", "ab", "bc", "cd", "de", "e"]),
    # Two camps.
    "camps": ("AD AE AF BD BE BF CD CE CF", ["a", "a", "a", "b", "b", "b"]),
    # Only the ends differ.
    "ends": ("AF", ["a", "ab", "ab", "ab", "ab", "b"]),
    # One apart from all others.
    "apart": ("AB AC AD AE AF", ["a", "b", "b", "b", "b", "b"]),
    # All differ.
    "all": ("AB AC AD AE AF BC BD BE BF CD CE CF DE DF EF", ["a", "b", "c", "d", "e", "f"]),
    # None differs.
    "none": ("", ["a"] * 6),
    # A noisy small group in the middle differs from none, as unequal sizes make it: C.
    "noisy": ("AD AE AF BE BF DF", ["a", "ab", "abc", "bc", "cd", "d"]),
}


def matrix_of(pairs: str, count: int = 6) -> np.ndarray:
    matrix = np.zeros((count, count), dtype=bool)
    for pair in pairs.split():
        i, j = (ord(c) - ord("A") for c in pair)
        matrix[i, j] = matrix[j, i] = True
    return matrix


@pytest.mark.parametrize("name", TABLES)
def test_letters_of_hand_worked_tables(name: str) -> None:
    pairs, letters = TABLES[name]
    if name == "noisy":
        # B-D, D-E, E-F, B with A; C with all: cliques {A,B,C}, {B,C,D}, {C,D,E}, {C,E,F}.
        letters = ["a", "ab", "abcd", "bc", "cd", "d"]
    assert compact_letters(matrix_of(pairs)) == letters


def test_letters_of_seven_groups() -> None:
    # Differ: A-D A-E A-F A-G B-F B-G C-G; cliques {A,B,C}, {B,C,D,E}, {C,D,E,F}, {D,E,F,G}.
    letters = compact_letters(matrix_of("AD AE AF AG BF BG CG", 7))
    assert letters == ["a", "ab", "abc", "bcd", "bcd", "cd", "d"]


def test_letters_in_another_order_name_the_same_groups() -> None:
    matrix = matrix_of(TABLES["chain"][0])
    order = np.array([3, 0, 5, 1, 4, 2])
    moved = compact_letters(matrix[np.ix_(np.argsort(order), np.argsort(order))], order=order)
    assert [moved[g] for g in order] == TABLES["chain"][1]


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 9), st.data())
def test_letters_are_shared_exactly_where_groups_do_not_differ(k: int, data: st.DataObject) -> None:
    matrix = np.zeros((k, k), dtype=bool)
    for i, j in itertools.combinations(range(k), 2):
        matrix[i, j] = matrix[j, i] = data.draw(st.booleans())
    letters = compact_letters(matrix)
    for i, j in itertools.combinations(range(k), 2):
        assert bool(set(letters[i]) & set(letters[j])) == (not matrix[i, j])
    assert all(letters)
    used = sorted(set("".join(letters)))
    assert used == [chr(ord("a") + n) for n in range(len(used))]
    # No letter could be left out.
    for letter in used:
        rest = [set(word) - {letter} for word in letters]
        lost = any(not r for r in rest) or any(
            not (rest[i] & rest[j]) for i, j in itertools.combinations(range(k), 2) if not matrix[i, j]
        )
        assert lost


def test_invalid_letters_are_rejected() -> None:
    with pytest.raises(InputError, match="square and symmetric"):
        compact_letters([[False, True], [False, False]])


# -- sites


def replicates(seed: int = 0) -> pd.DataFrame:
    """Ten sites in each of three biomes, no difference between biomes, large ones between sites."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(30), 3)
    return pd.DataFrame(
        {
            "site": site,
            "biome": np.repeat(["steppe", "forest", "shrub"], 30),
            "Fe": np.repeat(rng.normal(20000, 4000, 30), 3) + rng.normal(0, 200, 90),
        }
    )


def test_replicates_are_not_independent() -> None:
    """By rows a difference is detected far too often; by site means at the nominal rate."""
    by_row = [compare_groups(replicates(s), "Fe", "biome", site=None, test="tukey").anova_p < 0.05 for s in range(24)]
    by_site = [compare_groups(replicates(s), "Fe", "biome", test="tukey").anova_p < 0.05 for s in range(24)]
    assert np.mean(by_row) > 0.25
    assert np.mean(by_site) < 0.15
    result = compare_groups(replicates(), "Fe", "biome")
    assert result.unit == "site"
    assert result.groups["n"].tolist() == [10, 10, 10]
    assert compare_groups(replicates().drop(columns="site"), "Fe", "biome").unit == "row"


def test_a_class_with_one_site_is_shown_and_not_tested() -> None:
    table = replicates()
    table.loc[table["site"] == 0, "biome"] = "desert"
    result = compare_groups(table, "Fe", "biome")
    assert result.left_out == ("desert",)
    assert result.groups.loc["desert", "n"] == 1
    assert result.groups.loc["desert", "letters"] == ""
    assert "desert" not in set(result.pairs["first"]) | set(result.pairs["second"])
    one = table[table["biome"].isin(["desert", "forest"])]
    with pytest.raises(InputError, match=r"1 groups have 2 sites or more.*desert: 1"):
        compare_groups(one, "Fe", "biome")


def test_all_replicates_of_a_site_missing() -> None:
    table = replicates()
    table.loc[table["site"] == 4, "Fe"] = np.nan
    assert compare_groups(table, "Fe", "biome").groups["n"].sum() == 29


def test_classes_of_numbers() -> None:
    result = classes_of(pd.Series([100.0, 3000, 4500, np.nan], index=list("wxyz")), [3000, 4000])
    assert result.dropna().to_dict() == {"w": "< 3000", "x": "3000 to 4000", "y": ">= 4000"}
    assert pd.isna(result["z"])
    from tpsoil.micronutrients.groups import ARIDITY_EDGES, ARIDITY_NAMES

    assert classes_of([0.01, 0.3, 0.9], ARIDITY_EDGES, ARIDITY_NAMES).tolist() == ["hyper-arid", "semi-arid", "humid"]
    with pytest.raises(InputError, match="ascending"):
        classes_of([1.0], [3, 2])
    with pytest.raises(InputError, match="3 names for 2 classes"):
        classes_of([1.0], [3], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": "Fee"}, "did you mean 'Fe'"),
        ({"group": "biom"}, "did you mean 'biome'"),
        ({"test": "scheffe"}, r"test is 'scheffe', expected one of \['auto'"),
        ({"alpha": 5}, "share between 0 and 1"),
    ],
)
def test_invalid_comparisons_are_rejected(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        compare_groups(replicates(), **{"value": "Fe", "group": "biome", **options})
    with pytest.raises(InputError, match="no group has variance"):
        compare_groups([[1.0, 1.0], [2.0, 2.0]])
    with pytest.raises(InputError, match="has no variance; Games-Howell"):
        compare_groups([[1.0, 1.0], [2.0, 3.0]], test="games-howell")


def test_a_category_without_samples_is_no_group() -> None:
    table = replicates()
    listed = table.assign(biome=pd.Categorical(table["biome"], categories=["tundra", "steppe", "forest", "shrub"]))
    for site in ("site", None):
        one, two = (compare_groups(rows, "Fe", "biome", site=site) for rows in (table, listed))
        pd.testing.assert_frame_equal(one.groups, two.groups)
        assert two.left_out == ()


def test_a_table_may_repeat_its_row_labels() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"site": np.arange(40) // 2, "group": np.tile(["a", "a", "b", "b"], 10), "value": rng.random(40)}
    )
    table.loc[3, "value"] = np.nan
    repeated = compare_groups(pd.concat([table[:20], table[20:].reset_index(drop=True)]))
    pd.testing.assert_frame_equal(repeated.groups, compare_groups(table).groups)


def test_groups_that_only_differ_by_type_and_infinite_values_are_rejected() -> None:
    """The rows of the number 1 were lost to those of the text "1"; an infinite value gave a mean without letters."""
    table = pd.DataFrame({"group": [1, 1, 1, 2, 2, 2, "1", "1"], "value": [1.0, 2, 3, 7, 8, 9, 4, 5]})
    with pytest.raises(InputError, match="1 is a group as text and as a number"):
        compare_groups(table)
    with pytest.raises(InputError, match="2 has infinite values"):
        compare_groups([[1, 2, 3], [3, 4, np.inf]])
