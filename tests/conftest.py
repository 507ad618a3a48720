import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from nbnet.kernels.threads import Team

ROOT = Path(__file__).parents[1]

# At the end: `benchmarks` is found here, but nbnet is the installed one wherever it is installed.
sys.path.append(str(ROOT))

# The first example of a property compiles kernels; in CI the examples are the same in each run.
settings.register_profile(
    "nbnet", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("nbnet")


@pytest.fixture(scope="session")
def pace():
    """Seconds that this machine takes to start Python and compile one small function."""
    began = time.perf_counter()
    script = "import numba; numba.njit(lambda x: x + 1)(1)"
    subprocess.run([sys.executable, "-c", script], check=True)
    return time.perf_counter() - began


@pytest.fixture
def run_python(tmp_path, pace):
    """Run Python in a fresh process, in an empty folder; return what it printed."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=max(600, 600 * pace),  # a deadlock is a failure, not a standstill
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def guarded_buffers():
    """Lay every buffer that kernels are given between guards, and look whether these change.

    A plan's offsets are raw addresses to a kernel: a wrong one would be written to in silence.
    """
    run = Team.run

    def guarded(team, kernel, arguments, operations):
        inside, guards = [], []
        for array in arguments:
            if not isinstance(array, np.ndarray):
                inside.append(array)
                continue
            guard = 4096 // array.itemsize
            room = np.full(array.size + 3 * guard, 77, dtype=array.dtype)
            first = guard + (-room.ctypes.data % 4096) // array.itemsize
            view = room[first : first + array.size].reshape(array.shape)
            view[...] = array
            view.flags.writeable = array.flags.writeable
            inside.append(view)
            guards.append((array, view, room[:first], room[first + array.size :]))
        result = run(team, kernel, tuple(inside), operations)
        for array, view, before, after in guards:
            assert (before == 77).all()
            assert (after == 77).all()
            if array.flags.writeable:
                array[...] = view
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Team, "run", guarded)
        yield
