"""Type checkers know what users call."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

from nbnet.kernels.activations import ACTIVATIONS, ActivationName
from nbnet.kernels.optimizers import OPTIMIZERS, OptimizerName

SCRIPT = Path(__file__).with_name("user_script.py")
WRONG = """
from nbnet import MLPClassifier, graph as g
MLPClassifier(activation="rleu")
MLPClassifier(solver="adamw")
MLPClassifier(dropuot=1)
MLPClassifier().fit([[1.0]])
node: int = g.relu(g.input(3))
g.input(3) + 1
"""


def mypy(path, tmp_path):
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1200,
    )


def test_a_users_script_is_typed_and_runs(tmp_path):
    done = mypy(str(SCRIPT), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_mistakes_are_found(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(WRONG, encoding="utf-8")
    done = mypy(str(path), tmp_path)
    lines = {line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {"3", "4", "5", "6", "7", "8"}, done.stdout


def test_literals_name_the_rows_of_their_tables():
    assert set(get_args(ActivationName)) == set(ACTIVATIONS)
    assert set(get_args(OptimizerName)) == set(OPTIMIZERS)
