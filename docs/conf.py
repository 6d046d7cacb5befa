"""Sphinx's settings for the site, and the pages that are made at build time (see `site_pages`)."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent), str(DOCS.parent / "cli")]
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # a GPU draws other random numbers

import pandas as pd  # noqa: E402
import site_figures  # noqa: E402
import site_pages  # noqa: E402

import vae_anomaly  # noqa: E402

pd.options.display.max_colwidth = None  # whole reasons in the gallery

project = "vae-anomaly"
author = "the vae-anomaly authors"
copyright = author
version = release = vae_anomaly.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "site_math",
]
root_doc = "index"
exclude_patterns = ["_build", "generated/gallery/*.py", "generated/gallery/*.ipynb", "**/GALLERY_HEADER.*"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the settings of the gallery hold functions

# Links: those of names are checked where they are ours, all others within the site always.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!vae_anomaly).*")]
default_role = "py:obj"

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_exclude = ".linenos, .gp, .go"

autodoc_typehints = "none"  # numpydoc shows the types
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "vae-anomaly"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "vae-anomaly"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
html_sidebars = {"index": [], "start": []}

sphinx_gallery_conf = {
    "examples_dirs": [str(DOCS.parent / "examples" / "gallery")],
    "gallery_dirs": ["generated/gallery"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py",
    "image_scrapers": [site_figures.figures_in_variables],
    "reset_modules": [],
    "capture_repr": ("_repr_html_", "__str__"),
    "ignore_repr_types": r"matplotlib",
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1000,
    "download_all_examples": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}


def setup(app):
    """Make the pictures, the pages of the commands and the copies of pages that lie outside ``docs``."""
    app.connect("builder-inited", lambda app: site_pages.write_all(DOCS / "generated"))
    app.connect("builder-inited", lambda app: site_figures.write_all(DOCS / "generated" / "figures"))
    app.connect("source-read", site_pages.point_into_site)
    app.connect("autodoc-skip-member", skip_metadata_requests)


def skip_metadata_requests(app, what, name, item, skip, options):
    """Leave out the methods that scikit-learn adds for its metadata routing, with links into its own pages."""
    return skip or bool(re.fullmatch(r"set_\w+_request", name))
