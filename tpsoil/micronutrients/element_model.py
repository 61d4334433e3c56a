"""From a trained forest to the model of an element's maps: interval, kriged residuals and further layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_one_of
from tpsoil.evaluation import Variogram
from tpsoil.forest import TrainedForest
from tpsoil.forest.intervals import Method
from tpsoil.forest.layers import MapModel
from tpsoil.forest.local_intervals import check_choices
from tpsoil.forest.measurement import MeasurementError
from tpsoil.forest.residual_kriging import krige_residuals
from tpsoil.forest.standardised import residual_variogram

ExtraLayer = Literal["point_density", "expected_error"]
KrigingChoice = Literal["none", "residuals"]
KRIGINGS: Final[tuple[str, ...]] = get_args(KrigingChoice)


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """What the maps of an element have beside mean and spread: the options of `map_elements` and of `[elements]`.

    Parameters
    ----------
    level : float or None
        Nominal coverage of the interval: 0.5, 0.8, 0.9 or 0.95. None maps mean and spread alone.
    conformal : str
        "plain", "spread", "class:FEATURE" or "weighted", see `tpsoil.forest.local_intervals.check_choices`.
    kriging : {"none", "residuals"}
        Krige the residuals and add them to mean and limits, if that wins in the deciding folds.
    extra_layers : sequence of {"point_density", "expected_error"}
    """

    level: float | None = 0.9
    conformal: str = "plain"
    kriging: KrigingChoice = "none"
    extra_layers: Sequence[ExtraLayer] = ()

    @property
    def method(self) -> Method:
        """What the interval scales: quantiles of the forest, or the spread between trees."""
        return "spread" if self.conformal == "spread" else "quantile"

    def __post_init__(self) -> None:
        require_one_of("map", "kriging", self.kriging, KRIGINGS)
        cells = pd.DataFrame() if self.conformal == "weighted" else None
        check_choices(self.level, self.extra_layers, self.conformal, cells)


@dataclass(frozen=True, eq=False)
class ElementModel:
    """The model of an element's maps. Created by `element_model`.

    Parameters
    ----------
    model : MapModel
    trained : TrainedForest
        Its predictions out of fold include the kriged residuals, where these are used.
    comparison : DataFrame or None
        RMSE with and without kriging, see `tpsoil.forest.residual_kriging.KrigedForest`.
    variogram : Variogram or None
        Of the standardised residuals, for intervals of area means.
    """

    model: MapModel
    trained: TrainedForest
    comparison: pd.DataFrame | None = None
    variogram: Variogram | None = None

    @property
    def kriging_text(self) -> str:
        """Whether kriging is used, and by how much it changes the error; empty where it was not asked for."""
        if self.comparison is None:
            return ""
        row = self.comparison.iloc[0]
        verdict = "used" if row["used"] else "not used, because the interval does not exclude 0"
        return (
            f"kriging of residuals lowers the RMSE of {row['folds']} folds from {row['rmse_forest']:.4g} by "
            f"{row['gain']:.3g} [{row['lower']:.3g}, {row['upper']:.3g}] (90 % interval, on the scale of the fit): "
            f"{verdict}"
        )


def element_model(
    trained: TrainedForest,
    options: MapOptions,
    *,
    positions: npt.ArrayLike | None = None,
    cells: pd.DataFrame | None = None,
    measurement: MeasurementError | None = None,
    workers: int = 1,
) -> ElementModel:
    """Compile a trained forest for the maps of an element.

    Parameters
    ----------
    trained : TrainedForest
    options : MapOptions
    positions : array_like (rows, 2), optional
        Longitude and latitude of the used rows; needed for kriging, and for intervals of area means.
    cells : DataFrame (m, features), optional
        Covariates of mapped cells; only for "weighted" intervals.
    measurement : MeasurementError, optional
        Error of the training values, added to the interval in quadrature.
    workers : int
        Threads; the result does not depend on it.

    Returns
    -------
    ElementModel

    Raises
    ------
    InputError
        For options that the forest does not support, kriging without positions, or fewer than 30 of them.

    Examples
    --------
    >>> import numpy as np
    >>> from tpsoil.forest import train
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"slope": rng.random(60)})
    >>> table["Zn"] = 20 + 30 * table["slope"] + rng.normal(0, 2, 60)
    >>> model = element_model(train(table, "Zn", ["slope"], trees=10), MapOptions(conformal="spread")).model
    >>> model.attributes["interval_method"][:30]
    'mean and spread between trees,'
    """
    comparison, kriging = None, None
    if options.kriging == "residuals":
        if positions is None:
            raise InputError("map: kriging of residuals needs the positions of the samples; pass samples with them")
        kriged = krige_residuals(trained, positions, workers=workers)
        trained, kriging, comparison = kriged.trained, kriged.kriging, kriged.comparison
    model = MapModel.of(
        trained,
        level=options.level,
        measurement=measurement,
        extra=options.extra_layers,
        conformal=options.conformal,
        cells=cells,
    )
    model = replace(model, kriging=kriging)
    variogram = None if positions is None else residual_variogram(model, trained, positions)
    return ElementModel(model, trained, comparison, variogram)
