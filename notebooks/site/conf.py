"""Sphinx settings of the documentation; `build.py` copies the sources beside this file and runs Sphinx."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import tpsoil

project = "tpsoil"
author = "tpsoil developers"
copyright = "tpsoil developers, BSD-3-Clause"
version = release = tpsoil.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_nb"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks are stored with their output
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # widgets have a text beside them

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings name types, with units and shapes
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False
default_role = "literal"  # single backquotes in docstrings are code

html_math_renderer = "mathml"  # browsers draw it themselves: no request leaves the pages
html_theme = "furo"
html_title = f"tpsoil {version}"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
templates_path = []
exclude_patterns = []


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars of absolute values are no substitutions of reStructuredText."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`+[^`]*`+)", line)
            lines[number] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def skip_inherited(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Methods that scikit-learn adds to every estimator are documented there."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def draw_inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line as MathML."""
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def draw_block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula of its own as MathML."""
    writer.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Register the functions above."""
    app.add_html_math_renderer("mathml", inline_renderers=(draw_inline, None), block_renderers=(draw_block, None))
    app.connect("autodoc-process-docstring", escape_bars, priority=400)
    app.connect("autodoc-skip-member", skip_inherited)
