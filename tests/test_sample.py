"""The sample cube: small, whole, of known origin, and made again from the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.storage import ZipStore

import tpsoil
from tpsoil.errors import AccessError, StoreExistsError
from tpsoil.sample import ARCHIVE, open_sample, write_sample
from tpsoil.variables import CATALOGUE


def test_it_is_small_and_holds_only_layers_of_the_catalogue() -> None:
    assert ARCHIVE.stat().st_size < 1.5e6
    cube = open_sample()
    assert dict(cube.sizes) == {"y": 225, "x": 350}
    assert set(cube.data_vars) <= set(CATALOGUE)


def test_every_layer_has_its_origin_and_licence_in_the_notice_and_in_its_attributes() -> None:
    notice = ARCHIVE.with_name("NOTICE.md").read_text()
    for name, layer in open_sample().data_vars.items():
        row = next(line for line in notice.splitlines() if line.startswith("|") and str(name) in line.split("|")[1])
        assert any(licence in row for licence in ("MIT", "Apache-2.0", "BSD-3-Clause", "CC0"))
        assert any(licence in layer.attrs["source"] for licence in ("MIT", "Apache-2.0", "BSD-3-Clause", "CC0"))


def test_the_plateau_looks_like_itself() -> None:
    cube = open_sample().load()
    soil = cube.soil_mask == 1
    area = float(soil.sum()) * 64
    assert 2.4e6 < area < 3.1e6  # the basins less glaciers and lakes, km2
    assert 4000 < float(cube.elevation.where(soil).mean()) < 4700
    # colder higher up, at about the lapse rate that was used
    height, warmth = (cube[name].where(soil).to_numpy().ravel() for name in ("elevation", "mean_annual_temperature"))
    both = np.isfinite(height) & np.isfinite(warmth)
    assert np.corrcoef(height[both], warmth[both])[0, 1] < -0.8


def test_unpacked_it_is_an_ordinary_cube(tmp_path: Path) -> None:
    store = write_sample(tmp_path / "cube.zarr")
    xr.testing.assert_identical(tpsoil.open_cube(store).load(), open_sample().load())
    with pytest.raises(StoreExistsError, match="overwrite"):
        write_sample(store)
    write_sample(store, overwrite=True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(AccessError, match="cannot be written"):
        write_sample(blocked / "cube.zarr")


@pytest.mark.data
def test_the_originals_make_it_again(tmp_path: Path, data_folder: Path) -> None:
    from tpsoil.sample.build import build

    archive = tmp_path / "again.zip"
    build(data_folder / "tibet", archive)
    again = tpsoil.open_cube(ZipStore(archive, mode="r")).load()
    xr.testing.assert_equal(again, open_sample().load())
