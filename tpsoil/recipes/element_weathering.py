"""Index of alteration in a recipe: a column of the samples, computed where they are read."""

from __future__ import annotations

import pandas as pd

from tpsoil.micronutrients import alteration_of_samples
from tpsoil.micronutrients.alteration import INDEX

from .element_study_options import AlterationTable


def with_alteration(table: AlterationTable, samples: pd.DataFrame) -> pd.DataFrame:
    """Samples with the measured index of alteration as a column.

    Raises
    ------
    InputError
        As `tpsoil.micronutrients.alteration_of_samples`.
    """
    index = alteration_of_samples(
        samples,
        table.columns,
        basis=table.basis,
        correction=table.correction,
        carbonate=table.carbonate,
        detection_limits=table.limits,
    )
    attrs = dict(samples.attrs)
    samples = samples.assign(**{INDEX: index[INDEX]})
    samples.attrs.update(attrs)
    return samples
