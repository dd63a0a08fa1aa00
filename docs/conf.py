"""Configuration of the documentation; ``nox -s docs`` builds it with warnings as errors."""

from importlib.metadata import version as installed_version

project = "kraken-engine"
author = "the kraken-engine contributors"
version = release = installed_version("kraken-engine")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

html_theme = "furo"
html_title = "kraken-engine"
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

doctest_global_setup = "import kraken_engine"
