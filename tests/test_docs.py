"""The documents keep their word: links, commands, code blocks."""

import importlib.util
import re
from pathlib import Path

import pytest

import nbnet

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
EXAMPLES = {path.stem for path in (ROOT / "examples").glob("*.py")}
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def read(path):
    return path.read_text(encoding="utf-8")


@page
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(path))
    local = [link for link in links if "://" not in link and link != "/auto_examples/index"]
    missing = [link for link in local if not (path.parent / link).exists()]
    assert missing == []


@page
def test_pages_and_pictures_of_the_gallery_are_those_of_an_example(path):
    text = read(path)
    pages = re.findall(r"sphx_glr_auto_examples_(\w+)\.py", text)
    pictures = re.findall(r"/auto_examples/images/sphx_glr_(\w+)_\d{3}\.png", text)
    assert len(pages) + len(pictures) == text.count("sphx_glr")
    assert {*pages, *pictures} <= EXAMPLES


# Pages with these are run by the build of the site, whose extra brings them, and there alone.
OF_THE_BUILD = re.compile(r"^import (mlflow|optuna|shap)$", re.M)


@page
def test_code_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": path.stem}
    blocks = re.findall(r"^```(?:python|\{picture\}|\{run\})\n(.*?)^```", read(path), re.M | re.S)
    if OF_THE_BUILD.search("".join(blocks)):
        assert all(
            f"```{{run}}\n{block}" in read(path) for block in blocks
        )  # so that the build runs it
        pytest.skip("run when the site is built")
    if "from sklearn.callback import" in "".join(blocks):
        pytest.importorskip("sklearn.callback")  # new in 1.9
    for block in blocks:
        exec(compile(block, str(path), "exec"), namespace)


@pytest.mark.parametrize(
    "command",
    ['pip install ".[plot]" && python examples/quickstart.py', 'pip install ".[test]" && pytest'],
)
def test_readme_has_the_commands(command):
    assert f"    {command}\n" in read(README)


@pytest.fixture
def offline():
    """The extension of the site that finds what a page would fetch from a network."""
    spec = importlib.util.spec_from_file_location("offline", DOCS / "_extensions" / "offline.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text", "remote"),
    [
        ("page.html", '<script src="https://a.org/b.js"></script>', ["https://a.org/b.js"]),
        ("page.html", '<link rel="stylesheet" href="//a.org/b.css">', ["//a.org/b.css"]),
        ("page.html", '<link rel="icon" href="http://a.org/i.png" />', ["http://a.org/i.png"]),
        ("page.html", '<img src="HTTPS://a.org/b.png"/>', ["HTTPS://a.org/b.png"]),
        ("page.html", "<style>@import 'https://a.org/b.css'</style>", ["https://a.org/b.css"]),
        ("page.html", '<p style="background: url(//a.org/b)">', ["//a.org/b"]),
        ("site.css", 'a { src: url("https://a.org/f.woff2") }', ["https://a.org/f.woff2"]),
        ("picture.svg", '<svg><image href="https://a.org/b.png"/></svg>', ["https://a.org/b.png"]),
        # a link to click, a namespace, a file of the site
        ("page.html", '<a href="https://a.org">a</a>', []),
        ("page.html", '<link rel="next" href="https://a.org/b.html">', []),
        ("page.html", '<svg xmlns="http://www.w3.org/2000/svg"></svg>', []),
        (
            "page.html",
            '<script src="_static/b.js"></script><img src="data:image/png;base64,AA">',
            [],
        ),
        ("site.css", "a { src: url(fonts/f.woff2) }", []),
    ],
)
def test_what_a_page_would_fetch_is_found(offline, tmp_path, name, text, remote):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert offline.remote_addresses(path) == remote


def test_architecture_names_every_module():
    architecture = read(DOCS / "architecture.md")
    modules = {path.name for path in Path(nbnet.__file__).parent.rglob("*.py")} - {"__init__.py"}
    assert modules
    assert {name for name in modules if name not in architecture} == set()
