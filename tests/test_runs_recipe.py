"""Recipes: what is refused, all at once, with the mend; and what is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpsoil.errors import InputError, MissingInputError, RecipeError
from tpsoil.recipes import read_recipe
from tpsoil.recipes.grids import GridTable
from tpsoil.recipes.layer_stage import LayerTable
from tpsoil.recipes.recipe import target_grid
from tpsoil.recipes.stages import assembled, selected_stages

RECIPES = Path(__file__).parent / "recipes"
GRID = {"resolution": 100_000}
RUN = {"name": "a", "output": "a.zarr"}


def faults_of(recipe: object) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        assembled(read_recipe(recipe), in_cube={})  # type: ignore[arg-type]
    assert caught.value.exit_status == 2
    return caught.value.faults


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_all_misspelt_keys_are_listed_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    recipe = write(
        tmp_path / "r.toml",
        """
        [run]
        name = "a"
        output = "a.zarr"
        descripton = "x"
        [gird]
        resolution = 1000
        [grid]
        resolutoin = 1000
        [[layers]]
        name = "elevation"
        source = "dem.tif"
        unit = "m"
        [solum]
        paramters = "published"
        [solum.assumptions.water_erosion]
        valeu = 1.0
        reason = "x"
        """,
    )
    faults = faults_of(recipe)
    assert {fault.split(":")[0] for fault in faults} == {
        "gird",
        "run.descripton",
        "grid.resolutoin",
        "solum.paramters",
        "solum.assumptions.water_erosion.value",
        "solum.assumptions.water_erosion.valeu",
        "layers[1].unit",
    }
    keys = {"gird": "grid", "descripton": "description", "resolutoin": "resolution", "paramters": "parameters"}
    for key, meant in {**keys, "unit": "units", "valeu": "value"}.items():
        assert any(f"{key}: unknown key; did you mean '{meant}'?" in fault for fault in faults), key


def test_wrong_values_name_what_came_and_what_was_expected() -> None:
    faults = faults_of(
        {
            "run": {"name": "two words", "output": "a.zarr", "seed": -1},
            "grid": {"crs": "EPSG:99999999", "resolution": "fine"},
            "layers": [{"name": "elevation", "source": "a.tif", "band": 0, "kind": "categorical"}, 3],
            "solum": {"maps": ["solum_thicknes"], "zones": "nearest"},
        }
    )
    text = "\n".join(faults)
    assert "run.name" in text
    assert "two words" in text
    assert "run.seed: is -1" in text
    assert "'EPSG:99999999', expected 'plateau' or a CRS" in text
    assert "grid.resolution: is 'fine'" in text
    assert "layers[1].band: is 0" in text
    assert "layers[2]: is 3, expected a table" in text
    assert "solum.zones: is 'nearest'" in text
    assert "solum_thicknes" in text


def test_a_layer_given_twice_is_named_with_both_places() -> None:
    layer = {"name": "elevation", "source": "a.tif"}
    faults = faults_of({"run": RUN, "grid": GRID, "layers": [layer, {"name": "ndvi", "source": "b.tif"}, layer]})
    assert "layers[3].name: 'elevation' is given twice, first as layers[1]" in faults


def test_a_layer_of_ones_own_needs_units_and_kind() -> None:
    faults = faults_of({"run": RUN, "grid": GRID, "layers": [{"name": "elevatoin", "source": "a.tif"}]})
    assert "did you mean 'elevation'?" in faults[0]
    own = LayerTable(name="snow_days", source="a.tif", units="d", kind="continuous")
    assert own.described().units == "d"


def test_files_and_layers_that_are_not_there_are_listed_together(tmp_path: Path) -> None:
    (tmp_path / "elevation.tif").write_bytes(b"")
    recipe = write(
        tmp_path / "r.toml",
        """
        run = { name = "a", output = "a.zarr" }
        grid = { resolution = 100000 }
        mask = { glaciers = "ice.geojson" }
        elements = { samples = "s.csv", elements = ["Fe"], features = ["slope", "ndvi"] }
        [[layers]]
        name = "elevation"
        source = "elevatoin.tif"
        """,
    )
    text = "\n".join(faults_of(recipe))
    assert "layers[1].source: no such file" in text
    assert "did you mean 'elevation.tif'?" in text
    assert "mask.glaciers: no such file" in text
    assert "elements.samples: no such file" in text
    assert "needs layer 'slope', which no earlier stage provides; add it under [[layers]] or [derive]" in text
    assert "needs layer 'ndvi'" in text


def test_variables_stand_for_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "recipes").mkdir(parents=True)
    (project / "pyproject.toml").write_text("")
    recipe = write(
        project / "recipes" / "r.toml",
        """
        run = { name = "a", output = "a.zarr" }
        grid = { resolution = 100000, cover = "${TPSOIL_DATA}/dem.tif" }
        layers = [{ name = "elevation", source = "${TPSOIL_DATA}/dem.tif" }]
        """,
    )
    monkeypatch.delenv("TPSOIL_DATA", raising=False)
    read = read_recipe(recipe)
    assert read.layers[0].sources == (str(tmp_path / "shared" / "data") + "/dem.tif",)
    assert read.output == str(project / "recipes" / "a.zarr")
    assert read.raw["layers"][0]["source"] == "${TPSOIL_DATA}/dem.tif"  # what stores record holds no machine's path
    monkeypatch.setenv("TPSOIL_DATA", "/elsewhere")
    assert read_recipe(recipe).layers[0].sources == ("/elsewhere/dem.tif",)
    recipe.write_text(recipe.read_text().replace("TPSOIL_DATA", "NOT_SET_ANYWHERE"))
    with pytest.raises(RecipeError, match=r"layers\[1\].source: the environment variable NOT_SET_ANYWHERE is not set"):
        read_recipe(recipe)


def test_keys_in_a_url_are_refused_before_they_reach_a_log() -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe({"run": {"name": "a", "output": "s3://KEY:SECRET@bucket/a.zarr"}, "grid": GRID, "derive": {}})
    assert "SECRET" not in str(caught.value)
    assert "run.output: contains a user or password" in str(caught.value)


def test_toml_that_is_none_and_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is not TOML: .*line 1"):
        read_recipe(write(tmp_path / "r.toml", "run = 3 4"))
    with pytest.raises(MissingInputError, match=r"no such recipe; did you mean 'r.toml'\?"):
        read_recipe(tmp_path / "t.toml")


def test_an_assumption_and_a_layer_of_one_name_contradict(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"")
    names = [
        "elevation",
        "mean_annual_temperature",
        "annual_precipitation",
        "ndvi",
        "general_curvature",
        "wind_erosion",
    ]
    faults = faults_of(
        {
            "run": RUN,
            "grid": GRID,
            "layers": [{"name": name, "source": str(tmp_path / "a.tif")} for name in names],
            "solum": {
                "assumptions": {
                    "wind_erosion": {"value": 1, "reason": "x"},
                    "water_erosion": {"value": 1, "reason": "x", "units": "mm"},
                }
            },
        }
    )
    assert faults == ("solum.assumptions: water_erosion is given in 'mm', expected 't ha-1 a-1'",)


@pytest.mark.parametrize(
    ("grid", "fault"),
    [
        ({}, "resolution is missing"),
        ({"resolution": 1000, "crs": "EPSG:3035"}, "bounds, bbox or cover is missing"),
        ({"resolution": 1000, "bounds": [0, 0, 1, 1], "cover": "a.tif"}, "give one"),
        ({"resolution": 1000, "bounds": [5, 0, 1, 1]}, "left < right"),
        ({"like": "a.tif", "resolution": 1000}, "leave resolution, bounds, bbox and cover out"),
    ],
)
def test_a_grid_is_said_in_one_way(grid: dict[str, object], fault: str) -> None:
    assert any(fault in line for line in faults_of({"run": RUN, "grid": grid, "derive": {}}))


def test_bounds_snap_outward_to_whole_cells() -> None:
    recipe = read_recipe({"run": RUN, "grid": GRID, "derive": {}})
    box = target_grid(recipe, GridTable(crs="EPSG:3035", resolution=1000, bounds=(500, 1500, 3000, 4000.1)))
    assert box.shape == (4, 3)
    assert tuple(box.boundingbox) == (0, 1000, 3000, 5000)
    with pytest.raises(InputError, match="is resolution 1e-05 in the unit"):
        target_grid(recipe, GridTable(crs="EPSG:3035", resolution=1e-5, bounds=(0, 0, 1e6, 1e6)))


def test_only_names_a_stage_or_a_table(data_folder: Path) -> None:
    recipe = read_recipe(RECIPES / "tibet_solum.toml")
    stages = assembled(recipe, in_cube={}).stages
    assert [s.name for s in selected_stages(stages, "derive", "r")] == [
        "terrain",
        "hydrology",
        "temperature",
        "erosivity",
        "vegetation",
        "cover",
        "erodibility",
        "rusle",
    ]
    assert [s.name for s in selected_stages(stages, "water_erosion", "r")] == ["rusle"]
    assert [s.name for s in selected_stages(stages, "terrain", "r")] == ["terrain"]
    with pytest.raises(RecipeError, match="did you mean 'terrain'"):
        selected_stages(stages, "terain", "r")


def test_elements_options_are_checked() -> None:
    faults = faults_of(
        {
            "run": RUN,
            "grid": GRID,
            "elements": {
                "samples": "s.csv",
                "elements": ["Fe", "Px"],
                "features": ["ndvi", "ndvi"],
                "folds": ["kfold"],
            },
        }
    )
    text = "\n".join(faults)
    assert "no soil property 'Px'" in text
    assert 'in a recipe [elements.properties.Px] units = "..."' in text
    assert "names a layer twice: ndvi" in text
    assert "a block in degrees or metres such as 'block:3deg' or 'block:50km', or a column of regions" in text
