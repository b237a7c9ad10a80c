"""Sphinx's settings. `make docs` builds the pages."""

import builtins
from importlib.metadata import version as installed_version

project = "gipc"
author = "the gipc contributors"
copyright = author  # noqa: A001  # Sphinx's name for it
version = release = installed_version("gipc")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = True
# Names of others are not looked up: the build must not need a network.
nitpick_ignore = [("py:class", name) for name in dir(builtins)]
nitpick_ignore += [("py:exc", name) for name in dir(builtins)]
nitpick_ignore_regex = [
    (r"py:.*", r"(concurrent|functools|gevent|multiprocessing|pickle|signal)\..*")
]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it, with units and defaults
add_module_names = False

html_theme = "furo"
html_title = f"gipc {release}"
html_copy_source = False
html_show_sourcelink = False
