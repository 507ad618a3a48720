"""The documents keep their word: links, commands, code blocks."""

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


@page
def test_code_blocks_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": path.stem}
    blocks = re.findall(r"^```(?:python|\{picture\})\n(.*?)^```", read(path), re.M | re.S)
    for block in blocks:
        exec(compile(block, str(path), "exec"), namespace)


@pytest.mark.parametrize(
    "command",
    ['pip install ".[plot]" && python examples/quickstart.py', 'pip install ".[test]" && pytest'],
)
def test_readme_has_the_commands(command):
    assert f"    {command}\n" in read(README)


def test_architecture_names_every_module():
    architecture = read(DOCS / "architecture.md")
    modules = {path.name for path in Path(nbnet.__file__).parent.rglob("*.py")} - {"__init__.py"}
    assert modules
    assert {name for name in modules if name not in architecture} == set()
