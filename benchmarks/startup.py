"""Seconds that a user waits before anything is trained: import, compile, load from the cache.

Every number comes from fresh processes, the measurements in turn, medians over `--repeats`:

- imports of scikit-learn's MLP and numba alone, which nbnet cannot do without;
- with an empty NUMBA_CACHE_DIR, one after the other in one process: the same imports and nbnet's
  estimators on top; the first fit of nbnet ever, that is, what it compiles; then the first fit with
  each other solver, loss, dtype and kind of data, that is, what that compiles in addition;
- the first fit in a later process, with the cache that the former left;
- scikit-learn's first fit.

A fit is one epoch on scikit-learn's digits, so that next to nothing is training.

    python -m benchmarks.startup --json benchmarks/results/startup.json
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import program

IMPORTS = "import sklearn.neural_network, numba"
NBNET = "import nbnet; nbnet.MLPClassifier"
DATA = """
import warnings
warnings.simplefilter("ignore")
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
"""
FIT_NBNET = "nbnet.MLPClassifier(max_iter=1).fit(X, y)"
FIT_SKLEARN = "sklearn.neural_network.MLPClassifier(max_iter=1).fit(X, y)"
REGRESSION = "nbnet.MLPRegressor({!r}, max_iter=1).fit(X, y)"

COLD, WITH_IMPORTS = "first fit ever", "first fit ever, imports included"
IMPORTED = "import these and nbnet"
# Each is a process: its statements in order, with a name where they are on the clock.
PROCESSES: list[list[tuple[str | None, str]]] = [
    [("import scikit-learn's MLP and numba", IMPORTS), ("import nbnet after them", NBNET)],
    [
        (IMPORTED, f"{IMPORTS}; {NBNET}"),
        (None, DATA),
        (COLD, FIT_NBNET),
        ("then, sgd", "nbnet.MLPClassifier(solver='sgd', max_iter=1).fit(X, y)"),
        ("then, lbfgs", "nbnet.MLPClassifier(solver='lbfgs', max_iter=1).fit(X, y)"),
        ("then, two classes", "nbnet.MLPClassifier(max_iter=1).fit(X, y > 4)"),
        ("then, squared error", REGRESSION.format("squared_error")),
        ("then, absolute error", REGRESSION.format("absolute_error")),
        ("then, Poisson", REGRESSION.format("poisson")),
        ("then, float32", "nbnet.MLPClassifier(max_iter=1).fit(X.astype('float32'), y)"),
        ("then, predict", "nbnet.MLPClassifier(max_iter=1).fit(X, y).predict(X)"),
        ("then, maxout", "nbnet.MLPClassifier(activation='maxout', max_iter=1).fit(X, y)"),
        (None, "from scipy.sparse import csr_array; S = csr_array(X)"),
        ("then, CSR", "nbnet.MLPClassifier(max_iter=1).fit(S, y)"),
    ],
    [
        (None, f"{IMPORTS}; {NBNET}; {DATA}"),
        ("first fit, cached", FIT_NBNET),
        ("second fit", FIT_NBNET),
    ],
    [
        (None, f"{IMPORTS}; {DATA}"),
        ("first fit of scikit-learn", FIT_SKLEARN),
        ("second fit of scikit-learn", FIT_SKLEARN),
    ],
]


def main() -> None:
    parser = program.parser("benchmarks.startup", __doc__, repeats=3)
    options = parser.parse_args()

    seconds: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            # The cold fit comes before the cached ones, which read what it wrote.
            for steps in PROCESSES:
                steps = steps[:5] if options.quick else steps
                if dict(steps).get(COLD) and any(p.is_file() for p in Path(cache).rglob("*")):
                    raise RuntimeError("something compiled before the first fit: importing nbnet?")
                for name, value in measure(steps, cache).items():
                    seconds.setdefault(name, []).append(value)
                    if name == COLD:
                        total = value + seconds[IMPORTED][-1]
                        seconds.setdefault(WITH_IMPORTS, []).append(total)
    result = program.describe(["nbnet", "sklearn"])
    result["seconds"] = {name: statistics.median(values) for name, values in seconds.items()}
    result["all_seconds"] = seconds
    for name, value in result["seconds"].items():
        spread = f"{min(seconds[name]):.3f} – {max(seconds[name]):.3f}"
        print(f"{name:36}{value:8.3f} s   ({spread})")
    program.save(result, options.json)


def measure(steps: list[tuple[str | None, str]], cache: str) -> dict[str, float]:
    """Seconds that the named steps of a fresh process take."""
    script = "import time\n"
    for name, statements in steps:
        script += f"start = time.perf_counter()\n{statements}\n"
        script += f"print(time.perf_counter() - start, {name!r}, sep='\\t')\n" if name else ""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or every import would compile the sources
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env=environment,
    )
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return {name: float(value) for value, name in lines}


if __name__ == "__main__":
    main()
