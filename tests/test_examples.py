"""Every example runs; the quickstart notices when nbnet and scikit-learn disagree."""

import importlib.util
from pathlib import Path

import pytest

# The gallery runs all of them when the documents are built; those named plot_* run there alone.
EXAMPLES = [
    path
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
    if not path.name.startswith("plot_")
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, run_python):
    assert run_python(example, MPLBACKEND="Agg")


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    (path,) = (example for example in EXAMPLES if example.stem == "quickstart")
    spec = importlib.util.spec_from_file_location("quickstart", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_quickstart_fails_where_the_curves_differ(quickstart, monkeypatch, tmp_path):
    ours = quickstart.MLPClassifier

    def other_seed(**parameters):
        return ours(**{**parameters, "random_state": 1})

    monkeypatch.setattr(quickstart, "MLPClassifier", other_seed)
    with pytest.raises(SystemExit, match="DISAGREE"):  # printed, and the exit status is 1
        quickstart.main()
    assert (tmp_path / quickstart.FIGURE).read_bytes().startswith(b"\x89PNG")
