"""References in the package agree with each other and with the lists of the two studies."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from tpsoil import solum
from tpsoil.recipes.jobs import job_of
from tpsoil.stage import decisive_options
from tpsoil.variables import variable

PACKAGE = Path(__file__).parent.parent / "tpsoil"
# Author and year as they stand before a DOI, and the DOI in the studies' reference lists.
STUDIES = {
    "Rasmussen, C. and Tabor": "10.2136/sssaj2007.0051",
    "Water Resources\n    Research 45": "10.1029/2008WR007319",
    "Lithosphere 1": "10.1130/L3.1",
    "Duan, Q. Y.": "10.1007/BF00939380",
    "Huang, Z.": "10.1023/A:1009769707641",
    "Pineiro": "10.1016/j.ecolmodel.2008.05.006",
    "Nesbitt and Young": "10.1038/299715a0",
    "McLennan": "10.1086/648222",
    "Groemping": "10.18637/jss.v017.i01",
    "Teng et al. 2018": "10.1016/j.scitotenv.2018.04.146",
}


def sources() -> str:
    return "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))


@pytest.mark.parametrize("author", STUDIES)
def test_references_are_those_of_the_studies(author: str) -> None:
    text = sources()
    after = [text[match.end() : match.end() + 160] for match in re.finditer(re.escape(author), text)]
    dois = {found.group(1).rstrip('.,"') for part in after if (found := re.search(r"doi[: ](10\.[^\s)]+)", part))}
    assert STUDIES[author] in dois


def test_runs_cite_the_sources_of_their_layers_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Europe run cited neither GEMAS nor WorldClim."""
    recipe = tomllib.loads((Path(__file__).parent / "recipes" / "europe_elements.toml").read_text())
    monkeypatch.setenv("TPSOIL_DATA", str(Path(__file__).parent.parent.parent / "shared" / "data"))
    if not Path(os.environ["TPSOIL_DATA"]).is_dir():
        pytest.skip("the data are not there")
    references = job_of(recipe, output="memory://cited").references
    assert [any(name in text for text in references) for name in ("Huo", "GEMAS", "WorldClim 2", "Koeppen")] == [
        True
    ] * 4
    assert len([text for text in references if "WorldClim" in text]) == 1  # two layers, one source
    # A citation is for the reader: another one makes no map again.
    stages = {stage.name: decisive_options(stage) for stage in job_of(recipe, output="memory://cited").stages}
    recipe["layers"][1]["citation"] = recipe["elements"]["citation"] = "another"
    again = job_of(recipe, output="memory://cited")
    assert {stage.name: decisive_options(stage) for stage in again.stages} == stages
    assert "another" in again.references


@pytest.mark.parametrize("wrong", ["Geosphere 5", "sssaj2006.0362", "Soil Science Society of America Journal 58"])
def test_references_that_were_wrong_are_gone(wrong: str) -> None:
    assert wrong not in sources()


def test_no_caption_orders_the_published_zones_by_elevation() -> None:
    means = [zone.elevation for zone in solum.PUBLISHED_ZONES.values()]
    assert means != sorted(means)  # zone 4: 4354 m, zone 5: 4230 m
    assert "elevation" not in variable("zone").meaning
