"""scikit-learn's own tests of its MLP, unchanged, on nbnet's classes."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import sklearn.neural_network

import nbnet


def test_sklearn_suite_passes_unchanged(tmp_path, run_python):
    suite = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
    config = tmp_path / "pytest.ini"
    config.write_text("[pytest]\n")  # not this repository's: the file has warnings of its own
    report = tmp_path / "report.xml"
    arguments = ["-q", "-p", "sklearn_suite_plugin", "-p", "no:cacheprovider"]
    arguments += ["-c", str(config), f"--junitxml={report}", str(suite)]
    path = [str(Path(__file__).parent), str(Path(nbnet.__file__).parents[1])]
    path += filter(None, [os.environ.get("PYTHONPATH")])

    run_python("-m", "pytest", *arguments, PYTHONPATH=os.pathsep.join(path))

    counts = ET.parse(report).getroot().find("testsuite").attrib
    assert counts["failures"] == counts["errors"] == counts["skipped"] == "0", counts
    assert int(counts["tests"]) >= 55  # 59 cases in scikit-learn 1.9
