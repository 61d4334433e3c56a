"""Documentation in a store: parameters, assumptions, exclusions, provenance, citation, and the tables of its run.

Everything is read from attributes and from the small JSON objects of a run under `_tpsoil/`; only counts are computed.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
import xarray as xr

import tpsoil
from tpsoil.display import cell_text
from tpsoil.table_titles import TITLES, is_drawn, table_title

from .figures import palette
from .records import read_record
from .study import counterparts
from .tables import class_shares

_PARAMETERS: Final = ("parameters", "model", "settings", "options", "curvature_convention", "deposition", "preset",
                      "formula", "features", "trees", "seed", "folds")  # fmt: skip
_EXCLUDED: Final = ("excluded", "exclusions", "dropped", "masked", "counts", "notes", "samples_used", "unseen_classes",
                    "left_out", "bound_hits", "outside")  # fmt: skip
_CITED: Final = ("citation", "citations", "references", "reference")
_ELSEWHERE: Final = {*_CITED, "assumptions", "assumption", "created", "date_created"}
"""Attributes that have sections or sentences of their own."""
_ORIGIN: Final = ("source", "source_digest", "resampling", "parents", "created_with", "samples")
_PLAIN: Final = {
    "long_name", "units", "kind", "standard_name", "comment", "valid_min", "valid_max", "flag_values", "flag_meanings",
    "grid_mapping", "_FillValue", "state", "simulated", "scale_factor", "add_offset", "coordinates",
}  # fmt: skip
_SCORE: Final = re.compile(r"^(nse|squared_correlation|ccc|rmse|mae|mre|bias|coverage|picp|r2)(_|$)", re.IGNORECASE)


@dataclass
class Story:
    """Sections of a report, in the order in which they are printed.

    Parameters
    ----------
    title : str
    simulated : str
        What is simulated, or "".
    created : str
        Date, or "".
    scores, parameters, excluded, provenance : list of DataFrame
        Tables; the caption is in `attrs["caption"]`.
    assumptions, notes, plausibility, citations : list of str
        `plausibility`: maps and scores that leave published ranges.
    recipe : str
        As text, or "".
    cube : str
        Cube that the run has read, relative to the store, or "".
    summarised : list of str
        Layers whose statistics by polygon the run has computed.
    published : bool
        Whether charts name the figure of the published study that they correspond to.
    charts : dict of str to DataFrame
        Tables that are drawn, not printed, by name.
    results : list of str
        Layers computed by the run's models; empty for a store that is not the output of a run.
    """

    title: str
    simulated: str = ""
    created: str = ""
    scores: list[pd.DataFrame] = field(default_factory=list)
    parameters: list[pd.DataFrame] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    excluded: list[pd.DataFrame] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    plausibility: list[str] = field(default_factory=list)
    provenance: list[pd.DataFrame] = field(default_factory=list)
    citations: list[str] = field(default_factory=list)
    recipe: str = ""
    cube: str = ""
    summarised: list[str] = field(default_factory=list)
    published: bool = False
    charts: dict[str, pd.DataFrame] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)


def read_story(store: xr.Dataset, *, where: str = "", title: str = "") -> Story:
    """Collect the documentation of a store.

    Parameters
    ----------
    store : Dataset
    where : str
        Path or URL of the store, for its run's tables; "" for a Dataset in memory.
    title : str
        Default: the store's `title`, the name of its run, or the name of the store.

    Returns
    -------
    Story

    Examples
    --------
    >>> read_story(xr.Dataset(attrs={"assumptions": ["K = 0.03"], "title": "Tibet"})).assumptions
    ['K = 0.03']
    """
    run = read_record(where)
    attrs = dict(store.attrs)
    name = str(title or attrs.get("title") or run.name or where.rstrip("/").rpartition("/")[2] or "tpsoil store")
    story = Story(title=name, created=str(attrs.get("created") or attrs.get("date_created") or ""))
    story.simulated = _simulated(store)
    layers = {str(key): dict(layer.attrs) for key, layer in store.data_vars.items()}
    everywhere = [attrs, *layers.values()]
    story.assumptions = _sentences(everywhere, ("assumptions", "assumption"))
    story.notes = [*_sentences(everywhere, ("notes",)), *run.notes]
    story.plausibility = _sentences([attrs], ("plausibility_notes",))
    if attrs.get("run_state", "complete") != "complete":
        story.plausibility.insert(0, "The run is not complete: tiles that are not computed yet have no value.")
    cited = [*_sentences(everywhere, _CITED), *_licences(attrs, layers)]
    story.citations = [*cited, f"Computed with tpsoil {tpsoil.__version__}."]
    story.scores = _scores(attrs, layers)
    ranks = {key: rank for rank, key in enumerate(dict.fromkeys(("elements", *TITLES)))}
    for key, table in sorted(run.tables.items(), key=lambda item: ranks.get(item[0], len(ranks))):
        # Tables are simulated if the layers of their stages are; other layers of the run may be real.
        sources = [attrs, *(layers[name] for name in run.outputs[key] if name in layers)]
        _place_table(story, key, table, simulated=palette.is_simulated(*sources))
    if "representation" in run.tables:
        story.charts["representation"] = run.tables["representation"]
    if _published(run.recipe):
        story.published = True
        story.scores.insert(0, counterparts(list(run.tables)))
    for key, value in attrs.items():
        _place_attribute(story, key, value)
    if not story.recipe and run.recipe:
        story.recipe = _as_text(run.recipe)
    story.parameters += _by_layer(layers, _PARAMETERS, "How each layer was computed")
    story.excluded += _by_layer(layers, tuple(k for k in _EXCLUDED if k != "notes"), "Attributes of the layers")
    story.excluded += _class_counts(store)
    story.provenance += _by_layer(layers, _ORIGIN, "Source of each layer")
    story.provenance += _other_attributes(layers)
    story.cube = run.cube
    zonal = run.recipe.get("zonal", []) if isinstance(run.recipe, Mapping) else []
    story.summarised = list(dict.fromkeys(str(name) for entry in zonal for name in entry.get("layers", [])))
    story.results = [name for name in run.results if name in layers]
    return story


def _published(recipe: Any) -> bool:
    elements = recipe.get("elements") if isinstance(recipe, Mapping) else None
    return isinstance(elements, Mapping) and bool(elements.get("published"))


def _simulated(store: xr.Dataset) -> str:
    everything = (store.attrs, *(layer.attrs for layer in store.data_vars.values()))
    marked = [attrs for attrs in everything if palette.is_simulated(attrs)]
    sentences = [str(a["simulated"]) for a in marked if isinstance(a["simulated"], str) and " " in a["simulated"]]
    if sentences:
        return sentences[0]
    if palette.is_simulated(store):
        return "This store is based on simulated observations: it shows how the method works, not the real soil."
    if marked:
        names = [str(name) for name, layer in store.data_vars.items() if palette.is_simulated(layer)]
        return f"Simulated, not observed: {', '.join(names)}."
    return ""


def _place_table(story: Story, name: str, table: pd.DataFrame, *, simulated: bool) -> None:
    """A table of the run: drawn where it is long, else printed among the scores."""
    title = table_title(name)
    caption = name.replace("_", " ").capitalize() if title == name else title
    table.attrs.update(caption=caption, name=name, simulated=simulated)
    if is_drawn(name):
        story.charts[name] = table
    else:
        story.scores.append(table)


def _place_attribute(story: Story, key: str, value: Any) -> None:
    value = _parsed(value)
    low = key.lower()
    if low == "recipe":
        story.recipe = _as_text(value)
    elif low == "tables" and isinstance(value, Mapping):  # of a Dataset that no run wrote
        for name, content in value.items():
            table = _as_table(content)
            if table is not None:
                _place_table(story, str(name), table, simulated=bool(story.simulated))
    elif low in _ELSEWHERE or low in {"title", "simulated", "notes", "plausibility_notes"} or _SCORE.match(low):
        return
    else:
        section = story.provenance
        if "score" in low or low in {"elements", "zones"}:
            section = story.scores
        elif low in _PARAMETERS or "parameter" in low:
            section = story.parameters
        elif low in _EXCLUDED:
            section = story.excluded
        table = _as_table(value)
        if table is None:
            table = pd.DataFrame({"item": [key.replace("_", " ")], "value": [cell_text(value, 6)]})
            if section and section[0].attrs.get("loose"):
                table = pd.concat([section.pop(0), table], ignore_index=True)
            table.attrs.update(caption="The store", loose=True)
            section.insert(0, table)
        else:
            table.attrs["caption"] = key.replace("_", " ").capitalize()
            section.append(table)


def _captioned(table: pd.DataFrame, caption: str) -> list[pd.DataFrame]:
    """The table with its caption; none without rows."""
    table.attrs["caption"] = caption
    return [table] if len(table) else []


def _scores(attrs: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]]) -> list[pd.DataFrame]:
    """Scores stored as single attributes, such as `nse_random = 0.4`, one row per layer."""
    rows: list[dict[str, Any]] = []
    for name, attributes in {"the store": attrs, **layers}.items():
        scores = {key: value for key, value in attributes.items() if _SCORE.match(key)}
        if scores:
            rows.append({"layer": name, **scores})
    # The limits and the spread of a map repeat its scores: only the layer with the shortest name is listed.
    rows.sort(key=lambda row: len(row["layer"]))
    table = pd.DataFrame(rows)
    table = table.drop_duplicates(subset=[c for c in table.columns if c != "layer"], ignore_index=True)
    return _captioned(table, "Scores of the maps")


def _class_counts(store: xr.Dataset) -> list[pd.DataFrame]:
    tables = []
    for name in ("soil_mask", "solum_status", "production_status", "dominant_process", "applicability"):
        if name in store.data_vars and set(store[name].dims) == {"y", "x"}:
            table = class_shares(store, name).drop(columns="code")
            table.attrs["caption"] = palette.layer_title(store[name])
            tables.append(table)
    return tables


def _by_layer(layers: Mapping[str, Mapping[str, Any]], keys: tuple[str, ...], caption: str) -> list[pd.DataFrame]:
    rows = []
    for name, attrs in layers.items():
        texts = {key: cell_text(_parsed(attrs[key]), 6) for key in keys if attrs.get(key) is not None}
        rows.append({"layer": name, **{key.replace("_", " "): text for key, text in texts.items() if text}})
    rows = [row for row in rows if len(row) > 1]
    return _captioned(pd.DataFrame(rows), caption)


def _other_attributes(layers: Mapping[str, Mapping[str, Any]]) -> list[pd.DataFrame]:
    shown = {*_PLAIN, *_PARAMETERS, *_EXCLUDED, *_ELSEWHERE, *_ORIGIN}
    rows = [
        {"layer": name, "attribute": key.replace("_", " "), "value": cell_text(_parsed(value), 6)}
        for name, attrs in layers.items()
        for key, value in attrs.items()
        if key not in shown and not _SCORE.match(key)
    ]
    return _captioned(pd.DataFrame(rows), "Other attributes of the layers")


def _sentences(sources: Iterable[Mapping[str, Any]], keys: tuple[str, ...]) -> list[str]:
    """Sentences under any of the keys, each once, in order; a sentence contained in a longer one is omitted."""
    sentences: list[str] = []
    for attrs in sources:
        for key in keys:
            value = _parsed(attrs.get(key))
            if isinstance(value, Mapping):
                items = [f"{name}: {cell_text(item, 6)}" for name, item in value.items()]
            elif isinstance(value, (list, tuple)):
                items = [cell_text(item, 6) for item in value]
            else:
                items = [] if value is None else [str(value)]
            for item in map(str.strip, items):
                if item and not any(item in earlier for earlier in sentences):
                    sentences = [earlier for earlier in sentences if earlier not in item] + [item]
    return sentences


def _licences(attrs: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Licence of the store and of each layer, with those that the layers inherit from what they were made of."""
    named = {
        name: {"licences": [f"{name}: {one['licence']}"]} if one.get("licence") else one for name, one in layers.items()
    }
    texts = [*_sentences([attrs], ("licence", "license")), *_sentences([attrs, *named.values()], ("licences",))]
    return [f"Licence of {text}" if ": " in text else f"Licence: {text}" for text in texts]


def _parsed(value: Any) -> Any:
    """Value of an attribute, decoded if its text is JSON."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _as_table(value: Any) -> pd.DataFrame | None:
    if isinstance(value, Mapping) and value:
        if all(isinstance(item, Mapping) for item in value.values()):
            return pd.DataFrame([{"item": str(key), **item} for key, item in value.items()])
        return pd.DataFrame(
            [{"item": str(key).replace("_", " "), "value": cell_text(v, 6)} for key, v in value.items()]
        )
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
        return pd.DataFrame(list(value))
    return None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, default=str, ensure_ascii=False)
