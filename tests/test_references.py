"""References in the package agree with each other and with the lists of the two studies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tpsoil import solum
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


@pytest.mark.parametrize("wrong", ["Geosphere 5", "sssaj2006.0362", "Soil Science Society of America Journal 58"])
def test_references_that_were_wrong_are_gone(wrong: str) -> None:
    assert wrong not in sources()


def test_no_caption_orders_the_published_zones_by_elevation() -> None:
    means = [zone.elevation for zone in solum.PUBLISHED_ZONES.values()]
    assert means != sorted(means)  # zone 4: 4354 m, zone 5: 4230 m
    assert "elevation" not in variable("zone").meaning
