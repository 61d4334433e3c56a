"""Input that no validation design can use: each is an error that tells how to fix it."""

from __future__ import annotations

import numpy as np
import pytest

from tpsoil.errors import InputError
from tpsoil.evaluation import SampleDesign, make_folds

RNG = np.random.default_rng(0)
EAST, NORTH = RNG.uniform(0, 100, (2, 60))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("group", {"groups": np.arange(60) // 20}, "3 groups cannot fill 5 folds.*lower n_folds"),
        ("knndm", {"groups": np.arange(60) // 20, "area": RNG.uniform(0, 100, (50, 2))}, "3 sites.*n_folds"),
        ("knndm", {"area": RNG.uniform(5000, 5100, (50, 2))}, "farther than the samples' own extent.*check the CRS"),
        ("region", {"groups": np.arange(60) // 3, "regions": np.arange(60) % 2}, "20 of 20 groups lie in several reg"),
    ],
)
def test_a_design_that_cannot_be_used(kind: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_folds(60, kind, n_folds=5, east=EAST, north=NORTH, **options)


def test_regions_that_keep_sites_together_are_used() -> None:
    folds = make_folds(60, "region", groups=np.arange(60) // 3, regions=np.arange(60) // 30)
    assert folds.tolist() == (np.arange(60) // 30).tolist()


def test_a_sample_without_probabilities_is_no_probability_sample() -> None:
    with pytest.raises(InputError, match="no probability sample: validate by folds"):
        SampleDesign(np.full(5, np.nan))
