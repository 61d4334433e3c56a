"""`[solum.zones]`, `[solum.calibration]`, `[solum.comparison]`: their tables in a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import pandas as pd
from pydantic import Field, field_validator

from tpsoil.errors import InputError
from tpsoil.evaluation.designs import kind_of
from tpsoil.ingest import read_profiles
from tpsoil.ingest.profile_layouts import LayoutName
from tpsoil.ingest.profiles import Undesignated
from tpsoil.option_names import in_recipe
from tpsoil.solum import COVARIATES, PUBLISHED, WINDOWS, Effort, SolumParameters
from tpsoil.variables import CATALOGUE

from .section import Ascending, FilePath, Layers, Section, Share


class ZonesTable(Section):
    """`[solum.zones]`: zones of similar environment, by k-prototypes clustering.

    Parameters
    ----------
    k : int
        Number of zones; the study has 8.
    covariates : list of str
        Layers; by default those of the study's eleven that are there. With `rank`, the pool that is ranked.
    rank : bool
        Rank the covariates on the profiles of `[solum.calibration]` and keep those whose mean importance is positive.
        The zones then carry target information.
    rank_seeds, rank_trees : int
        Forests of the ranking, and trees of each.
    n_init : int
        Starts.
    max_cells : int
        Cells to fit on.
    """

    NEEDS: ClassVar = {"rank_seeds": ("rank", ()), "rank_trees": ("rank", ())}

    k: int = Field(default=8, ge=2, le=254)
    covariates: Layers = ()
    rank: bool = False
    rank_seeds: int = Field(default=20, ge=1)
    rank_trees: int = Field(default=500, ge=1)
    n_init: int = Field(default=10, ge=1)
    max_cells: int = Field(default=1_000_000, ge=100)

    def pool(self, available: set[str]) -> tuple[str, ...]:
        """The layers that are ranked or clustered."""
        return self.covariates or tuple(name for name in COVARIATES if name in available)


class ProfilesTable(Section):
    """Profiles of a recipe, from one file or two.

    Parameters
    ----------
    profiles : str
        A CSV: one row a profile with its thickness, or one row a horizon with top, bottom and designation; `lon`, `lat`
        or `x`, `y`.
    citation : str
        Reference of the profiles; the run's references list it.
    units : str, optional
        Of thickness (m unless given) or horizon depths (cm unless given).
    columns : table
        Names of columns that are called otherwise: `thickness`, `profile`, `top`, `bottom`, `designation`.
    layout : "wosis", "ncss" or "isric", optional
        Database of the horizons; its column names are those of `tpsoil.ingest.layout_table`. Recognised without it.
    sites : str, optional
        A CSV with one row a profile, its position and other columns, where `profiles` has the horizons alone.
    undesignated : "limit" or "complete"
        Profiles whose horizons have no designations: the deepest bottom is a lower limit of the solum, or its end,
        where the survey dug to the C horizon.
    encoding : str
        Of the files; "cp1252" of tables that Excel under Windows saved as CSV.
    """

    TABLE: ClassVar = ""
    """In a recipe, for messages."""

    profiles: FilePath
    citation: str | None = Field(default=None, min_length=1)
    units: Literal["m", "dm", "cm", "mm"] | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    layout: LayoutName | None = None
    sites: FilePath | None = None
    undesignated: Undesignated = "limit"
    encoding: str = "utf-8"

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        allowed = {"thickness", "profile", "top", "bottom", "designation"}
        if unknown := sorted(set(columns) - allowed):
            raise ValueError(f"has {', '.join(unknown)}, expected some of {', '.join(sorted(allowed))}")
        return columns

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose content decides: profiles and, where they have a table of their own, sites."""
        return tuple(Path(path) for path in (self.profiles, self.sites) if path is not None)

    def read(self) -> pd.DataFrame:
        """The profiles of this table's file, by all options of this table.

        Raises
        ------
        InputError
            As `tpsoil.ingest.read_profiles`.
        """
        names = ("units", "columns", "layout", "sites", "undesignated", "encoding")
        with in_recipe(self.TABLE):
            return read_profiles(Path(self.profiles), **{name: getattr(self, name) for name in names})

    def usable(self) -> pd.DataFrame:
        """The profiles with a usable thickness; warnings are reported by the stage of the steady state."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            rows = self.read()
        return rows[rows["problem"] == ""].reset_index(drop=True)


OF_PROFILES: Final = ("calibration.profiles", "calibration.sites", "calibration.citation")
"""Options of a stage that do not decide its result: the files' names and content do."""
SEARCH: Final = (
    "preset", "problem", "objective", "starts", "folds", "members", "block_size", "validation", "baseline_features",
    "effort",
)  # fmt: skip
"""What of `[solum.calibration]` are keywords of `tpsoil.solum.calibrate`."""


class CalibrationTable(ProfilesTable):
    """`[solum.calibration]`: parameters from profiles instead of published ones.

    Parameters
    ----------
    preset : "paper" or "physical"
        Bounds of the parameters: the study's Table 2, or physically plausible ones.
    problem : "eight" or "five"
        All parameters, or the five combinations that profiles can identify.
    objective : "tobit" or "rmse"
        Profiles whose pit ended in the solum: part of the likelihood, or an error only where the model is thinner.
    starts : int
        Searches of each zone, from other starting points.
    folds : int
        Of the cross-validation.
    members : int
        Sets of parameters in the ensemble of each zone.
    block_size : float, optional
        Side of the blocks of the spatial cross-validation, in the profiles' unit (degrees or metres).
    validation : list of str
        Designs beside each other: "random", "site", "block:SIZE" (deg, m or km), "region:COLUMN" of the profiles,
        "knndm" (as far as the mapped cells are from the profiles). A table has the model, a forest and the zone mean.
    complexes, evaluations : int
        Of each search by SCE-UA.
    quantiles : list of float
        Maps of these quantiles of thickness over the ensemble; none by default.
    quantiles_of : "profiles" or "parameters"
        With residuals, or parameters alone.
    baseline_features : list of str
        Layers that the forest baseline sees besides the model's own.
    simulated : bool
        The profiles are simulated; recorded in every output.
    """

    TABLE: ClassVar = "solum.calibration"
    NEEDS: ClassVar = {"quantiles_of": ("quantiles", ())}

    preset: Literal["paper", "physical"] = "paper"
    problem: Literal["eight", "five"] = "eight"
    objective: Literal["tobit", "rmse"] = "tobit"
    starts: int = Field(default=10, ge=1)
    folds: int = Field(default=4, ge=2)
    members: int = Field(default=200, ge=20)
    block_size: float | None = Field(default=None, gt=0)
    validation: tuple[str, ...] = ()
    complexes: int = Field(default=8, ge=2)
    evaluations: int = Field(default=20_000, ge=100)
    quantiles: Annotated[tuple[Share, ...], Ascending] = ()
    quantiles_of: Literal["profiles", "parameters"] = "profiles"
    baseline_features: tuple[str, ...] = ()
    simulated: bool = False

    @field_validator("validation")
    @classmethod
    def _designs(cls, designs: tuple[str, ...]) -> tuple[str, ...]:
        for design in designs:
            kind_of(design)
        if len(set(designs)) != len(designs):
            raise ValueError(f"is {list(designs)}, expected each design once")
        return designs

    @property
    def effort(self) -> Effort:
        """Of each search."""
        return Effort(complexes=self.complexes, evaluations=self.evaluations)

    @property
    def search(self) -> dict[str, Any]:
        """Keywords of `tpsoil.solum.calibrate`."""
        return {name: getattr(self, name) for name in SEARCH}

    @property
    def of_profiles(self) -> CalibrationTable:
        """The table without what decides the calibration alone, for a stage that only reads the profiles."""
        return self.keeping(*ProfilesTable.model_fields, "simulated")


class SensitivityTable(Section):
    """`[solum.sensitivity]`: one parameter or layer at a time is changed, the others stay.

    Parameters
    ----------
    change : float
        Relative change of parameters, and of layers other than temperature.
    temperature_change : float
        Of the mean annual temperature, K.
    max_cells : int
        Cells to compute on; a larger map is decimated evenly.
    """

    change: float = Field(default=0.1, gt=0, lt=1)
    temperature_change: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    max_cells: int = Field(default=200_000, ge=100)


class Transect(Section):
    """`[solum.comparison.transects]`: one line over the maps.

    Parameters
    ----------
    start, end : longitude, latitude
        Degrees.
    points : int
        Along the line.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    points: int = Field(default=200, ge=2)


class ComparisonTable(Section):
    """`[solum.comparison]`: this map beside others, and within windows.

    Parameters
    ----------
    maps : list of str
        Layers of other thickness maps, in any unit of length (give them under `[[layers]]` with kind and units).
    band : float
        %; differences within it count as agreement.
    windows : table of name to [west, south, east, north], degrees
        The basin of Qaidam and the Qiangtang by default, where the grid covers them.
    transects : table of name to `start`, `end`
        Lines over the maps, drawn as profiles.
    correlate : list of str
        Layers whose Pearson correlation with thickness is listed, and their means within the windows.
    published : bool
        Print what the study published beside the values of this run: of the thickness layer, and of layers named
        shangguan_thickness, liu_thickness, elevation, ndvi, mean_annual_temperature and general_curvature.
    """

    NEEDS: ClassVar = {"band": ("maps", ())}

    maps: Layers = ()
    band: float = Field(default=5.0, ge=0)
    windows: dict[str, tuple[float, float, float, float]] | None = None
    transects: dict[str, Transect] = Field(default_factory=dict)
    correlate: tuple[str, ...] = ()
    published: bool = False

    @field_validator("maps")
    @classmethod
    def _others(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        own = [name for name in names if name in CATALOGUE and name != "depth_to_bedrock"]
        if own:
            raise ValueError(f"is {list(names)}, expected other maps' layers, each under a name of its own")
        return names

    @field_validator("windows")
    @classmethod
    def _boxes(cls, boxes: Any) -> Any:
        for name, (west, south, east, north) in (boxes or {}).items():
            if not (west < east and south < north):
                raise ValueError(f"{name} is {[west, south, east, north]}, expected west < east and south < north")
        return boxes

    @property
    def boxes(self) -> dict[str, tuple[float, float, float, float]]:
        """The windows, the study's own two where none is named."""
        return dict(WINDOWS) if self.windows is None else self.windows


def solum_parameters(table: Any) -> SolumParameters | dict[int, SolumParameters]:
    """Parameters as a recipe writes them.

    Raises
    ------
    InputError
    """
    if table == "published":
        return dict(PUBLISHED)
    if all(isinstance(values, Mapping) for values in table.values()):
        by_zone = {}
        for zone, values in table.items():
            if not str(zone).isdigit():
                raise InputError(f"parameters: zone '{zone}', expected a number such as [solum.parameters.1]")
            by_zone[int(zone)] = _one_set(values, f"parameters.{zone}")
        return by_zone
    return _one_set(table, "parameters")


def _one_set(values: Mapping[str, Any], at: str) -> SolumParameters:
    try:
        return SolumParameters(**values)
    except TypeError as error:
        raise InputError(f"{at}: {error}; expected h0, rho_s, a, b, alpha, beta, gamma and D") from error


def named_profiles(calibration: CalibrationTable | None) -> dict[str, str]:
    """What names the profiles of a calibration in the identity of a stage: their file, not its folder."""
    return {} if calibration is None else {"profiles": calibration.files[0].name}
