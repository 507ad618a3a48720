"""`nbnet.warmup` and `python -m nbnet warmup`; that nothing is left to compile: test_cache.py."""

import subprocess
import sys

import pytest

import nbnet
from nbnet.__main__ import main
from nbnet.ahead import WarmUp


def test_it_says_what_it_did(capsys):
    done = nbnet.warmup(["float32"], general=False, verbose=True)
    assert isinstance(done, WarmUp)
    assert [step.what for step in done.steps] == [
        "float32, plain layers, training",
        "float32, plain layers, prediction",
    ]
    assert capsys.readouterr().out.splitlines() == [*map(str, done.steps), str(done)]
    assert done.folder in str(done)

    again = nbnet.warmup(["float32"], general=False)
    assert [(step.compiled, step.loaded) for step in again.steps] == [(0, 0), (0, 0)]
    assert all(str(step).endswith("there already, in this process") for step in again.steps)
    assert (again.compiled, again.loaded) == (0, 0)
    assert capsys.readouterr().out == ""


def test_other_networks_and_dtypes_are_steps_of_their_own():
    done = nbnet.warmup()
    assert len(done.steps) == 12
    assert sum("sparse" in step.what for step in done.steps) == 4
    assert sum("float64" in step.what for step in done.steps) == 6
    assert [step.what for step in nbnet.warmup("float64").steps] == [
        step.what for step in done.steps if "float64" in step.what
    ]


@pytest.mark.parametrize("dtypes", [["float16"], [None], "int", ["float32", "nonsense"], [object]])
def test_another_dtype_is_refused(dtypes):
    with pytest.raises(ValueError, match=r"dtypes must be among \('float32', 'float64'\), got"):
        nbnet.warmup(dtypes)


def test_no_dtype_is_refused():
    with pytest.raises(ValueError, match="dtypes must hold at least one"):
        nbnet.warmup([])


def test_command_in_a_later_process_finds_the_cache(run_python):
    run_python("-m", "nbnet", "warmup", "--dtypes", "float32", "--plain")
    said = run_python("-W", "error", "-m", "nbnet", "warmup", "--dtypes", "float32", "--plain")
    *steps, total = said.splitlines()
    assert [step.partition(": ")[2] for step in steps] == ["there already, in the cache"] * 2
    assert total.startswith("0 kernels compiled, 2 loaded")


def test_command_fails_where_nothing_is_kept(monkeypatch):
    asked = []

    def warmup(*args, **options):
        asked.append((*args, options))
        return WarmUp((), folder)

    monkeypatch.setattr(nbnet, "warmup", warmup, raising=False)
    folder = None
    assert main(["warmup"]) == 1
    folder = "somewhere"
    assert main(["warmup", "--dtypes", "float64", "--plain"]) == 0
    assert asked == [
        (("float32", "float64"), {"general": True, "verbose": True}),
        (["float64"], {"general": False, "verbose": True}),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "warmup"),
        (["warmup", "--help"], 0, "usage: python -m nbnet warmup"),
        (["--version"], 0, nbnet.__version__),
        ([], 2, "the following arguments are required: command"),
        (["cool"], 2, "invalid choice: 'cool'"),
        (["warmup", "--dtypes", "int8"], 2, "invalid choice: 'int8'"),
    ],
)
def test_command_line(arguments, status, said):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "nbnet", *arguments], capture_output=True, text=True
    )
    assert done.returncode == status
    assert said in done.stdout + done.stderr


def test_without_a_compiler_there_is_nothing_to_do(run_python):
    script = "import nbnet; done = nbnet.warmup(); print(done, done.steps)"
    said = run_python("-c", script, NUMBA_DISABLE_JIT=1)
    assert said == "nothing to compile: NUMBA_DISABLE_JIT is set ()\n"
