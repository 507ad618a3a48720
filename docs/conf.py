import sys
import tomllib
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

sys.path.append(str(Path(__file__).parent / "_extensions"))

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = _project["name"]
author = copyright = _project["authors"][0]["name"]
release = version = _project["version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",  # the source of each object, as a page of the site
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    # ours, in _extensions
    "mathml",
    "offline",
    "running",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_extensions", "_templates", "auto_examples/*.ipynb"]

default_role = "literal"
myst_enable_extensions = ["attrs_block", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings say it
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",  # all of them are run
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),  # a graph shows as its picture
    "ignore_repr_types": r"matplotlib|Display",  # pictures show themselves
    "within_subsection_order": ExplicitOrder(  # real data first, then as the chapter goes
        [
            "quickstart.py",
            "plot_regression_intervals.py",
            "plot_own_loss.py",
            "plot_rare_class.py",
            "plot_own_metric.py",
            "plot_residual_network.py",
            "plot_hidden_features.py",
            "mixed_columns.py",
            "plot_long_fit.py",
            "grid_search.py",
            "text_classification.py",
            "out_of_core.py",
            "*",
            "plot_xor.py",
            "plot_conditional_statistics.py",
            "plot_gaussian_outputs.py",
            "plot_bernoulli_outputs.py",
            "plot_multinoulli_outputs.py",
            "plot_relative_frequencies.py",
            "plot_activation_functions.py",
            "plot_maxout.py",
            "plot_why_linearity.py",
            "plot_universal_approximation.py",
            "plot_linear_regions.py",
            "plot_computational_graphs.py",
            "plot_jacobian_products.py",
        ]
    ),
    # names in the examples lead to the reference, and the reference back to the examples
    "doc_module": ("nbnet",),
    "backreferences_dir": "generated",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_sidebars = {"index": [], "getting-started": []}
html_theme_options = {
    "logo": {
        "text": project,
        "alt_text": project,
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}


def _skip_what_is_scikit_learns(app, what, name, obj, skip, options):
    """Leave what estimators inherit from scikit-learn to scikit-learn's reference."""
    module = getattr(obj, "__module__", None) or ""
    return True if module.startswith("sklearn.") else None


def setup(app):
    app.connect("autodoc-skip-member", _skip_what_is_scikit_learns)
