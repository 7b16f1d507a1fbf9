"""How Sphinx builds the documentation: ``sphinx-build -W docs docs/_build``."""

import geventbt

project = "geventbt"
author = "the geventbt authors"
project_copyright = "2026, the geventbt authors"
release = version = geventbt.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"geventbt {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Names in single backticks, as in the docstrings, become links where they are documented.
default_role = "py:obj"
