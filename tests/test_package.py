"""What `import nbnet` does and does not do, and what the package ships."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

import nbnet

ROOT = Path(__file__).parents[1]

IMPORT = """
import json, sys
import nbnet
print(json.dumps(sorted(sys.modules)))
"""

USE = """
import json, sys
from numba.core import event

class Listener(event.Listener):
    compiled = []
    def on_start(self, event): self.compiled.append(event.data["dispatcher"].py_func.__qualname__)
    def on_end(self, event): pass

event.register("numba:compile", Listener())
import numba, sklearn.neural_network
before = set(sys.modules)
import nbnet
nbnet.MLPClassifier(random_state=0), nbnet.MLPRegressor()
print(json.dumps([Listener.compiled, sorted(set(sys.modules) - before)]))
"""


def test_import_is_next_to_nothing(run_python):
    """The estimators and what they need come on first use."""
    assert not {"numba", "numpy", "scipy", "sklearn"} & set(json.loads(run_python("-c", IMPORT)))


def test_nothing_is_compiled_before_fit(run_python):
    compiled, added = json.loads(run_python("-c", USE))
    assert "nbnet.kernels.entry" in added
    assert compiled == []
    roots = {module.split(".")[0] for module in added} - sys.stdlib_module_names
    scientific = {"numba", "llvmlite", "numpy", "scipy", "sklearn", "joblib", "threadpoolctl"}
    assert roots <= {"nbnet"} | scientific


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert nbnet.__version__ == project["version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {nbnet.__version__}" in changes


def test_types_are_shipped():
    assert (Path(nbnet.__file__).parent / "py.typed").exists()


def test_public_names():
    assert set(nbnet.__all__) <= set(dir(nbnet))
    for name in nbnet.__all__:
        assert getattr(nbnet, name) is not None
    with pytest.raises(AttributeError, match="module 'nbnet' has no attribute 'MLP'"):
        _ = nbnet.MLP


# A function of a script, which is sent by value, and takes the module along, by name.
SENT = """
import pickle, warnings
import cloudpickle, joblib, numpy as np
import nbnet

def fit(seed):
    warnings.simplefilter("ignore")  # max_iter
    model = nbnet.MLPClassifier(3, max_iter=2, random_state=seed)
    return model.fit(np.eye(4), [0, 1, 0, 1]).loss_, nbnet.warmup.__name__

assert pickle.loads(cloudpickle.dumps(nbnet)) is nbnet
assert pickle.loads(cloudpickle.dumps(fit))(0) == fit(0)
with joblib.parallel_config("loky"):
    sent = joblib.Parallel(2)(joblib.delayed(fit)(seed) for seed in range(2))
assert sent == [fit(0), fit(1)]
print("same")
"""


def test_a_function_that_uses_the_package_can_be_sent_to_workers(run_python, tmp_path):
    pytest.importorskip("cloudpickle")  # inside of older joblib
    (tmp_path / "script.py").write_text(SENT)
    assert run_python(tmp_path / "script.py") == "same\n"
