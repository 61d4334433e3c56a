"""What each choice of the Tibet recipe changed of its mean water erosion, from the layers of a finished run.

python benchmarks/erosion_choices.py out/tibet_solum.zarr
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

from tpsoil.covariates import cover_factor, rusle
from tpsoil.cube import open_cube


def chain(maps: xr.Dataset) -> list[tuple[str, float]]:
    """Mean water erosion, t/ha/a, with the choices taken one after the other.

    Parameters
    ----------
    maps : Dataset (y, x)
        R, K, LS, C, NDVI and the soil loss of the run.

    Returns
    -------
    list of (str, float)
    """
    maps = maps.compute()
    soil = np.isfinite(maps["water_erosion"])
    r, k, ls, c = (maps[n] for n in ("rainfall_erosivity", "soil_erodibility", "ls_factor", "cover_factor"))
    european = cover_factor(ndvi=maps["ndvi"])
    unscaled = (r / r.attrs["rescaling_factor"]).assign_attrs(r.attrs)
    steps = {
        f"slope length up to {ls.attrs['max_length_m']:g} m; R of the method; C of van der Knijff": (
            unscaled,
            european,
        ),
        f"R {r.attrs['rescaling']}": (r, european),
        f"C: {c.attrs['formula']}": (r, c),
    }
    return [(text, float(rusle(rain, k, ls, cover).where(soil).mean())) for text, (rain, cover) in steps.items()]


def main() -> None:
    """Print the chain of one store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    for text, mean in chain(open_cube(parser.parse_args().store)):
        print(f"{mean:8.2f} t/ha/a  {text}")


if __name__ == "__main__":
    main()
