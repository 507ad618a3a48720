"""Kernels are compiled in our own way while numba is as we know it, and in numba's if it is not."""

import json
import logging

import numpy as np
import pytest
from numba import njit

from nbnet.kernels.compile import canary, jit, pipeline

# In a process of its own, numba and llvmlite are imported as they may be one day: a name is another
# one in all of their sources, or a method has one more parameter, which all of its callers give; or
# a name is there for numba itself, but not for us.
CHANGE_NUMBA = """
import builtins, json, logging, re, sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader

kind, name = sys.argv[1:]

def changed(source):
    if kind == "renamed":
        return re.sub(rf"\\b{name}\\b", f"{name}_renamed", source)
    if kind == "signature":
        source = re.sub(rf"\\.{name}\\(", f".{name}(None, ", source)
        return re.sub(rf"def {name}\\((self|cls)", rf"def {name}(\\1, _more", source)
    return source

class Loader(SourceFileLoader):
    changes = 0

    def get_code(self, fullname):
        source = self.get_source(fullname)
        if changed(source) == source:
            return super().get_code(fullname)
        Loader.changes += 1
        return compile(changed(source), self.path, "exec", dont_inherit=True)

class Finder(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] not in ("numba", "llvmlite"):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Loader(fullname, spec.loader.path)
        return spec

sys.meta_path.insert(0, Finder())
import_module = builtins.__import__

def without_name(module, namespace=None, locals=None, names=(), level=0):
    ours = (namespace or {}).get("__name__", "").startswith("nbnet")
    if kind == "hidden" and ours and name in (names or ()) and module.startswith("numba"):
        Loader.changes += 1
        raise ImportError(f"cannot import name {name!r}")
    return import_module(module, namespace, locals, names, level)

builtins.__import__ = without_name

class Log(logging.Handler):
    lines = []
    def emit(self, record): self.lines.append(record.getMessage())

logging.getLogger("nbnet").addHandler(Log())
"""

ADD_UP = f"""{CHANGE_NUMBA}
import numpy as np
from nbnet.kernels.compile.jit import kernel

@kernel
def part(a, i, factor):
    return a[i] * factor

@kernel(entry=True)
def add_up(a, factor):
    total = 0.0
    for i in range(a.size):
        total += part(a, i, factor)
    a[-1] = total
    return total

a = np.arange(10.0)
found = [add_up(a, 3), a[9]]
print(json.dumps([found, Loader.changes, Log.lines]))
"""

FIT = f"""{CHANGE_NUMBA}
import warnings
import numpy as np
from nbnet import MLPClassifier

warnings.simplefilter("ignore")
X = np.random.RandomState(0).normal(size=(60, 5))
model = MLPClassifier(7, max_iter=5, random_state=0).fit(X, X[:, 0] > 0)
found = [*model.loss_curve_, *model.predict_proba(X)[:, 0]]
print(json.dumps([found, Loader.changes, Log.lines]))
"""

# Every private name of numba that the compile package uses.
PRIVATE = [
    *(("hidden", name) for name in (
        "_dynfunc", "cgutils", "JITCodeLibrary", "Compiler", "DefaultPassBuilder", "Flags",
        "register_pass", "Lower", "NativeLowering", "BaseFunction", "CPUTargetOptions",
        "CompileResult",
    )),
    *(("renamed", name) for name in (
        "JITCodeLibrary", "DefaultPassBuilder", "register_pass", "NativeLowering", "BaseFunction",
        "_optimize_functions", "_optimize_final_module", "_finalize_final_module",
        "_finalize_dynamic_globals", "_finalized", "_codegen", "_data_layout", "_tm",
        "_final_module", "create_pipeline_tuning_options", "create_pass_builder",
        "getModulePassManager", "get_call_type", "lower_getitem", "lower_setitem", "loadvar",
        "_blk_local_varmap", "_singly_assigned_vars", "enable_boundscheck", "data_model_manager",
        "get_field_position", "unpack_value", "pack_value", "define_nopython_pipeline",
        "define_pipelines", "enable_object_caching", "get_executable", "lookup_module",
        "_values", "lowering_class", "alloca_once", "alloca_lltype", "delvar",
        "_nrt", "no_cfunc_wrapper", "no_cpython_wrapper",
        "_cache", "_reduce", "magic_tuple", "has_dynamic_globals",
    )),
    *(("signature", name) for name in (
        "_optimize_functions", "get_call_type", "lower_getitem", "lower_setitem", "loadvar",
        "delvar", "alloca_lltype", "define_nopython_pipeline", "enable_object_caching",
        "get_executable", "get_field_position", "magic_tuple",
    )),
]  # fmt: skip
FEW = {
    ("hidden", "Lower"),
    ("renamed", "_optimize_functions"),
    ("renamed", "_nrt"),
    ("renamed", "_cache"),
    ("renamed", "magic_tuple"),
    ("signature", "lower_getitem"),
}


def parameters(few=()):
    return [
        pytest.param(
            *case,
            marks=() if case in few else (pytest.mark.slow, pytest.mark.deep),
            id=" ".join(case),
        )
        for case in PRIVATE
    ]


@pytest.mark.parametrize(("kind", "name"), parameters(FEW))
def test_a_kernel_works_with_another_numba(kind, name, run_python, tmp_path):
    for _ in range(2):  # the second one finds what the first has kept
        said = run_python("-c", ADD_UP, kind, name, NUMBA_CACHE_DIR=tmp_path)
        found, changes, log = json.loads(said)
        assert found == [135.0, 135.0]
        assert changes > 0
        assert all("numba's own way" in line or "not kept" in line for line in log)


@pytest.mark.parametrize(("kind", "name"), parameters())
def test_a_fit_works_with_another_numba(kind, name, run_python, tmp_path):
    expected, _, log = json.loads(run_python("-c", FIT, "unchanged", "numba"))
    assert log == []
    said = run_python("-c", FIT, kind, name, NUMBA_CACHE_DIR=tmp_path)
    np.testing.assert_allclose(json.loads(said)[0], expected, rtol=1e-9)


def test_the_canary_agrees_with_numba_and_with_us():
    ours = {True: pipeline.EntryCompiler, False: pipeline.PartCompiler}
    assert jit._COMPILERS != {}
    assert jit._trusted()
    assert canary.disagreement(lambda function, entry: function) is None
    assert canary.disagreement(lambda function, entry: njit(function)) is None
    assert canary.disagreement(lambda f, entry: jit._compiled(f, entry, ours)) is None


def test_the_canary_sees_a_wrong_result():
    def wrong(function, entry):
        return function if entry else lambda row, factor: function(row, factor) + 1

    assert "a result is" in canary.disagreement(wrong)


def test_the_canary_sees_an_error():
    def fails(function, entry):
        raise TypeError("one argument more")

    assert canary.disagreement(fails) == "TypeError: one argument more"


def test_the_canary_sees_references_that_are_left():
    left = []

    def leaks(function, entry):
        return lambda *args: left.append(args) or function(*args)

    assert "references to arrays are left" in canary.disagreement(leaks)


def test_a_pipeline_that_disagrees_is_not_used(monkeypatch, caplog):
    def unexpected(*args, **options):
        raise AssertionError("compiled in our own way")

    monkeypatch.setattr(jit, "disagreement", lambda decorate: "a result is 3, not 4")
    monkeypatch.setattr(pipeline.EntryCompiler, "__init__", unexpected)
    monkeypatch.setattr(jit, "_ENTRY_POINTS", [])
    jit._trusted.cache_clear()
    try:

        @jit.kernel
        def part(a):
            return a[-1]

        @jit.kernel(entry=True)
        def entry(a):
            return part(a) + 1

        entry._cache._stamp = lambda: None  # read and keep nothing
        with caplog.at_level(logging.WARNING, "nbnet"):
            assert entry(np.arange(3.0)) == 3.0
    finally:
        jit._trusted.cache_clear()
    assert len(caplog.records) == 1
    assert "a result is 3, not 4" in caplog.text
