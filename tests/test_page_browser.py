"""The page in headless Chromium: layer switch, zoom, a pixel's value, keyboard, touch, light, dark, phone; no request.

Chromium is searched on PATH or set by TPSOIL_CHROMIUM. Screenshots are stored in the folder TPSOIL_SCREENSHOTS if set.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from conftest import absent

import tpsoil
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.reports import write_page
from tpsoil.variables import variable

GRID = plateau_grid(25_000)  # 72 x 112
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def store() -> xr.Dataset:
    rows, columns = GRID.shape
    y, x = np.mgrid[:rows, :columns]
    rng = np.random.default_rng(8)
    thickness = (0.5 + np.hypot(y - 30, x - 50) / 60 + rng.normal(0, 0.01, GRID.shape)).astype("f4")
    thickness[y + x < 20] = np.nan
    layers = {
        "solum_thickness": (thickness, {"parents": "slope"}),
        "slope": ((x / 4 + y / 7).astype("f4"), {}),
        "zone": ((1 + (x // 14) % 8).astype("u1"), {}),
    }
    return xr.Dataset(
        {name: (("y", "x"), data, {**variable(name).attributes(), **attrs}) for name, (data, attrs) in layers.items()},
        coords=coordinates(GRID), attrs={"title": "Browser test", "simulated": "Everything here is simulated."},
    )  # fmt: skip


STORE = store()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(STORE, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("TPSOIL_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        absent("browser", "no Chromium on PATH; apt-get install chromium, or set TPSOIL_CHROMIUM to its program")
    if importlib.util.find_spec("playwright") is None:
        absent("browser", "playwright is not installed; pip install 'tpsoil[test]'")
    import playwright.sync_api as playwright

    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


class Opened:
    """A page in a fresh context, with everything it asked of the network."""

    def __init__(self, browser: Any, file: Path, *, phone: bool = False, scheme: str = "light") -> None:
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
        self.context = browser.new_context(
            viewport=size, color_scheme=scheme, has_touch=phone, is_mobile=phone, device_scale_factor=2 if phone else 1
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console", lambda line: self.faults.append(line.text) if line.type in {"error", "warning"} else None
        )
        self.page.goto(file.as_uri())
        self.wait("solum_thickness")
        kind = "phone" if phone else "desktop"
        folder = os.environ.get("TPSOIL_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=str(Path(folder) / f"page_{kind}_{scheme}.png"), full_page=True)

    def wait(self, layer: str) -> None:
        self.page.wait_for_selector(f'#map[data-layer="{layer}"]', timeout=20_000)
        self.page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def spot(self, row: int, column: int) -> tuple[float, float]:
        """Where the middle of a cell is on the screen."""
        state = self.page.evaluate("() => ({...document.getElementById('map').dataset})")
        self.page.locator("#map").scroll_into_view_if_needed()
        box = self.page.locator("#canvas").bounding_box()
        scale = float(state["scale"])
        return (
            box["x"] + float(state["x"]) + (column + 0.5) * scale,
            box["y"] + float(state["y"]) + (row + 0.5) * scale * float(state["tall"]),
        )

    def read(self) -> dict[str, str]:
        return dict(self.page.evaluate("() => ({...document.getElementById('readout').dataset})"))

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def close(self, file: Path) -> None:
        """Every test ends here: nothing was asked for but the file itself and what it holds, and nothing failed."""
        outside = [url for url in self.requests if url != file.as_uri() and not url.startswith(("data:", "blob:"))]
        self.context.close()
        assert outside == []
        assert self.faults == []


@pytest.fixture
def desktop(browser: Any, page_file: Path) -> Iterator[Opened]:
    opened = Opened(browser, page_file)
    yield opened
    opened.close(page_file)


@pytest.fixture
def phone(browser: Any, page_file: Path) -> Iterator[Opened]:
    opened = Opened(browser, page_file, phone=True)
    yield opened
    opened.close(page_file)


@pytest.mark.parametrize(("row", "column"), [(30, 50), (71, 111), (40, 0), (12, 90)])
def test_the_pointer_reads_the_stores_value(desktop: Opened, row: int, column: int) -> None:
    desktop.page.mouse.move(*desktop.spot(row, column))
    readout = desktop.read()
    stored = STORE["solum_thickness"].values[row, column]
    assert (int(readout["row"]), int(readout["column"])) == (row, column)
    assert np.float32(readout["value"]) == stored
    shown = re.match(r"([\d.e-]+) m\b", desktop.text("#readout b"))
    assert shown
    assert np.float32(shown.group(1)) == stored  # the printed digits are that float32 and no other
    assert len(shown.group(1)) <= len(str(stored))  # and no more of them than needed


def test_nothing_is_read_as_nothing(desktop: Opened) -> None:
    desktop.page.mouse.move(*desktop.spot(5, 5))
    assert desktop.text("#readout b") == "no value"


def test_the_layer_switch_changes_map_legend_and_values(desktop: Opened) -> None:
    before = desktop.page.evaluate("() => document.getElementById('canvas').toDataURL()")
    desktop.page.select_option("#layer", label="Environmental zone (simulated)")
    desktop.wait("zone")
    assert desktop.page.evaluate("() => document.getElementById('canvas').toDataURL()") != before
    desktop.page.mouse.move(*desktop.spot(40, 60))
    assert desktop.text("#readout b") == f"zone {STORE['zone'].values[40, 60]}"
    assert "zone 8" in desktop.text("#legend")
    desktop.page.click("#before")
    desktop.wait("slope")
    desktop.page.mouse.move(*desktop.spot(40, 60))
    assert np.float32(desktop.read()["value"]) == STORE["slope"].values[40, 60]
    assert "Unit: °" in desktop.text("#legend")
    desktop.page.click("#after")
    desktop.page.click("#after")
    desktop.wait("solum_thickness")
    assert desktop.page.evaluate("() => document.getElementById('canvas').toDataURL()") == before


def test_zooming_by_button_wheel_and_doubleclick_keeps_values_in_place(desktop: Opened) -> None:
    def scale() -> float:
        return float(desktop.page.locator("#map").get_attribute("data-scale"))

    first = scale()
    desktop.page.click("#in")
    desktop.wait("solum_thickness")
    assert scale() == pytest.approx(1.5 * first)
    place = desktop.spot(30, 50)
    desktop.page.mouse.move(*place)
    desktop.page.mouse.wheel(0, -200)
    desktop.page.wait_for_function(f"() => Number(document.getElementById('map').dataset.scale) > {1.6 * first}")
    np.testing.assert_allclose(desktop.spot(30, 50), place, atol=scale())  # the cell under the wheel stays there
    desktop.page.mouse.move(place[0] + 1, place[1])
    readout = desktop.read()
    assert np.float32(readout["value"]) == STORE["solum_thickness"].values[int(readout["row"]), int(readout["column"])]
    desktop.page.mouse.dblclick(*place)
    desktop.wait("solum_thickness")
    assert scale() > 3 * first
    desktop.page.click("#reset")
    desktop.wait("solum_thickness")
    assert scale() == pytest.approx(first)
    for _ in range(12):
        desktop.page.click("#out")
    desktop.wait("solum_thickness")
    assert scale() == pytest.approx(first)  # never smaller than the full map


def test_dragging_moves_the_map_with_the_pointer(desktop: Opened) -> None:
    desktop.page.click("#in")
    desktop.page.click("#in")
    desktop.wait("solum_thickness")
    x, y = desktop.spot(36, 56)
    desktop.page.mouse.move(x, y)
    desktop.page.mouse.down()
    desktop.page.mouse.move(x - 60, y + 20, steps=4)
    desktop.page.mouse.up()
    desktop.wait("solum_thickness")
    np.testing.assert_allclose(desktop.spot(36, 56), (x - 60, y + 20), atol=0.6)


def test_the_keyboard_alone_switches_moves_zooms_and_is_announced(desktop: Opened) -> None:
    page = desktop.page
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.id"))
        if seen[-1] == "map":
            break
    assert seen[-7:] == ["layer", "before", "after", "in", "out", "reset", "map"]
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")  # the first one sets the cross down in the middle
    start = desktop.read()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    readout = desktop.read()
    assert int(readout["column"]) == int(start["column"]) + 1
    assert int(readout["row"]) == int(start["row"]) + 10
    value = STORE["solum_thickness"].values[int(readout["row"]), int(readout["column"])]
    assert np.float32(readout["value"]) == value
    assert desktop.text("#readout b") in desktop.text("#status")
    before = float(page.locator("#map").get_attribute("data-scale"))
    page.keyboard.press("+")
    desktop.wait("solum_thickness")
    assert float(page.locator("#map").get_attribute("data-scale")) == pytest.approx(1.5 * before)
    for _ in range(20):
        page.keyboard.press("Shift+ArrowLeft")
    readout = desktop.read()
    assert int(readout["column"]) == 0
    assert page.locator("#cross").is_visible()
    page.keyboard.press("0")
    desktop.wait("solum_thickness")
    assert float(page.locator("#map").get_attribute("data-scale")) == pytest.approx(before)


def test_a_phone_taps_and_pinches_and_nothing_is_cut_off(phone: Opened) -> None:
    page = phone.page
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    row, column = 40, 70
    page.touchscreen.tap(*phone.spot(row, column))
    readout = phone.read()
    assert np.float32(readout["value"]) == STORE["solum_thickness"].values[int(readout["row"]), int(readout["column"])]
    assert abs(int(readout["row"]) - row) <= 1
    assert abs(int(readout["column"]) - column) <= 1
    before = float(page.locator("#map").get_attribute("data-scale"))
    x, y = phone.spot(36, 56)
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, apart: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 30)
    for apart in (40, 50, 60):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    phone.wait("solum_thickness")
    assert float(page.locator("#map").get_attribute("data-scale")) == pytest.approx(2 * before, rel=0.05)
    for target in page.locator("button:visible, select:visible").all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 40  # a thumb finds it
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
def test_text_can_be_read_in_light_and_dark(browser: Any, page_file: Path, scheme: str, phone: bool) -> None:
    opened = Opened(browser, page_file, scheme=scheme, phone=phone)
    pairs = opened.page.evaluate(
        """() => ["body", ".lead", ".simulated strong", "nav a", "button", "select", "#readout small", ".hint", "th",
                  "figcaption", "footer"].map((selector) => {
          const element = document.querySelector(selector), ink = getComputedStyle(element).color;
          let holder = element, paper = "rgba(0, 0, 0, 0)";
          while (holder && paper === "rgba(0, 0, 0, 0)") {
            paper = getComputedStyle(holder).backgroundColor; holder = holder.parentElement;
          }
          return [selector, ink, paper];
        })"""
    )
    for selector, ink, paper in pairs:
        assert contrast(ink, paper) >= 4.5, (selector, ink, paper)  # WCAG 2.2 AA
    body = luminance(next(paper for selector, _, paper in pairs if selector == "body"))
    assert (body < 0.05) if scheme == "dark" else (body > 0.9)
    opened.close(page_file)


def test_paper_has_the_pictures_and_no_controls(desktop: Opened) -> None:
    desktop.page.emulate_media(media="print")
    assert not desktop.page.locator("#map-section").is_visible()
    assert desktop.page.locator("#maps img").count() == 3
    assert desktop.page.locator("#maps img").first.is_visible()
    assert "Everything here is simulated." in desktop.text(".simulated")
    desktop.page.emulate_media(media="screen")


def test_the_policy_stops_a_request_that_somebody_adds(browser: Any, page_file: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    line = '<img src="http://127.0.0.1:9/x.png" alt="">'
    changed.write_text(page_file.read_text(encoding="utf-8").replace("</main>", line + "</main>"), encoding="utf-8")
    opened = Opened(browser, changed)
    assert any("Content Security Policy" in fault for fault in opened.faults)
    opened.context.close()


def rich() -> xr.Dataset:
    """A map with its spread, its limits, its area of applicability and its samples."""
    layers = STORE[["solum_thickness", "slope"]].copy(deep=True)
    thickness = layers["solum_thickness"]
    columns = np.arange(GRID.shape[1])
    for end, values in (("lower", thickness - 0.1), ("upper", thickness + 0.2)):
        layers[f"solum_thickness_{end}"] = values.astype("f4").assign_attrs(thickness.attrs, long_name=f"limit {end}")
    inside = np.broadcast_to(np.where(columns < 60, 1, 0).astype("u1"), GRID.shape)
    layers["solum_thickness_applicability"] = (("y", "x"), inside, variable("applicability").attributes())
    x, y = layers["x"].values, layers["y"].values
    sites = pd.DataFrame({"x": x[[20, 40]], "y": y[[30, 50]], "value": [0.61, 0.83]})
    return layers.assign_attrs(tables=json.dumps({"sites_solum": sites.to_dict("records")}))


@pytest.fixture(scope="module")
def rich_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(rich(), tmp_path_factory.mktemp("rich") / "rich.html")


def test_a_click_lists_all_layers_and_files_can_be_saved(browser: Any, rich_file: Path, tmp_path: Path) -> None:
    opened = Opened(browser, rich_file)
    page, store = opened.page, rich()
    page.mouse.click(*opened.spot(30, 70))
    page.wait_for_selector("#point table")
    table = opened.text("#point table")
    thickness = float(store["solum_thickness"].values[30, 70])
    row = next(line for line in table.splitlines() if line.startswith("Solum thickness"))
    value, low, high = (float(n) for n in re.findall(r"\d\.\d+", row)[:3])
    np.testing.assert_allclose([value, low, high], [thickness, thickness - 0.1, thickness + 0.2], atol=0.006)
    assert row.rstrip().endswith("outside")
    assert "limit" not in table  # a limit is a column, not a row
    assert float(page.locator("#counts").get_attribute("data-value")) == pytest.approx(thickness)
    page.mouse.click(*opened.spot(30, 20))
    page.wait_for_function("() => document.getElementById('point').innerText.includes('Sample of')")
    assert "0.61 m" in opened.text("#point table")
    page.check("#samples")
    with page.expect_download() as tiff:
        page.click("#tiff")
    with page.expect_download() as csv:
        page.locator("button.csv").first.click()
    tiff.value.save_as(tmp_path / "a.tif")
    csv.value.save_as(tmp_path / "a.csv")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.crs == rasterio.crs.CRS.from_wkt(GRID.crs.wkt)
        assert raster.transform.almost_equals(GRID.transform, precision=1e-6)
        assert np.isnan(raster.nodata)
        np.testing.assert_array_equal(raster.read(1), store["solum_thickness"].values)
    assert len(pd.read_csv(tmp_path / "a.csv")) > 0
    opened.close(rich_file)


def test_two_layers_a_transect_by_keyboard_and_the_address(browser: Any, rich_file: Path) -> None:
    opened = Opened(browser, rich_file)
    page = opened.page
    before = page.evaluate("() => document.getElementById('canvas').toDataURL()")
    page.select_option("#second", label="Slope (simulated)")
    page.wait_for_selector('#map[data-second="slope"]')
    opened.wait("solum_thickness")
    half = page.evaluate("() => document.getElementById('canvas').toDataURL()")
    assert half != before
    page.focus("#swipe")
    page.keyboard.press("End")  # the divider at the right edge: the first layer alone
    opened.wait("solum_thickness")
    assert page.evaluate("() => document.getElementById('canvas').toDataURL()") != half
    page.focus("#transect")
    page.keyboard.press("Enter")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#profile svg")
    assert opened.text("#profile p").startswith("Transect of 500 km")  # 20 cells of 25 km
    assert page.locator("#profile svg").count() == 2  # both layers
    assert page.locator("#profile .band").count() == 1  # one has limits
    page.click("#in")
    page.wait_for_function("() => location.hash.includes('zoom=1.50')")
    assert "layer=solum_thickness" in page.url
    assert "second=slope" in page.url
    page.goto(page.url.partition("#")[0] + "#layer=slope&x=0&y=0&zoom=2")
    opened.wait("slope")
    page.wait_for_function("() => Number(document.getElementById('map').dataset.scale) > 0")
    state = page.evaluate("() => ({...document.getElementById('map').dataset})")
    box = page.locator("#canvas").bounding_box()
    # Easting and northing 0 km, at column 53.6 and row 36 of the grid, are in the middle of the map.
    assert float(state["x"]) + 53.6 * float(state["scale"]) == pytest.approx(box["width"] / 2, abs=1.5)
    assert float(state["y"]) + 36 * float(state["scale"]) == pytest.approx(box["height"] / 2, abs=1.5)
    opened.close(rich_file)


def test_the_viewer_works_inside_a_notebook(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><body>{tpsoil.explore(rich(), height_px=700)._repr_html_()}</body>", "utf-8")
    context = browser.new_context(viewport={"width": 1000, "height": 760})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(file.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator('#map[data-layer="solum_thickness"]').wait_for(timeout=20_000)
    frame.locator("#in").click()
    frame.locator("#map").click()
    frame.locator("#point table").wait_for()
    assert "Slope" in frame.locator("#point table").inner_text()
    context.close()
    assert faults == []


def numbers(colour: str) -> np.ndarray:
    return np.array([float(n) for n in re.findall(r"[\d.]+", colour)[:3]]) / 255


def luminance(colour: str) -> float:
    rgb = numbers(colour)
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def contrast(ink: str, paper: str) -> float:
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
