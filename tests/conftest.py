import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# At the end: `benchmarks` is found here, but nbnet is the installed one wherever it is installed.
sys.path.append(str(ROOT))

# The first example of a property compiles kernels; in CI the examples are the same in each run.
settings.register_profile(
    "nbnet", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("nbnet")


@pytest.fixture
def run_python(tmp_path):
    """Run Python in a fresh process, in an empty folder; return what it printed."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=600,  # a deadlock is a failure, not a standstill
            env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
