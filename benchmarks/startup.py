"""Seconds that a user waits before anything is trained: import, compile, load from the cache.

Every number comes from fresh processes, the measurements in turn, medians over `--repeats`:

- imports of scikit-learn's MLP and numba alone, which nbnet cannot do without;
- the same and nbnet's estimators on top;
- the first fit of nbnet ever, with an empty NUMBA_CACHE_DIR: what it compiles;
- the first fit in a later process, with the cache that the former left;
- scikit-learn's first fit.

A fit is one epoch on scikit-learn's digits, so that next to nothing is training.

    python -m benchmarks.startup --repeats 5 --json startup.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import machine

IMPORTS = "import sklearn.neural_network, numba"
NBNET = "import nbnet; nbnet.MLPClassifier"
DATA = "from sklearn.datasets import load_digits; X, y = load_digits(return_X_y=True)"
FIT = "import warnings; warnings.simplefilter('ignore'); {}.MLPClassifier(max_iter=1).fit(X, y)"
FIT_NBNET = FIT.format("nbnet")
FIT_SKLEARN = FIT.format("sklearn.neural_network")

# name: (statements before the clock starts, statements on the clock)
MEASUREMENTS = {
    "import scikit-learn's MLP and numba": ("", IMPORTS),
    "import these and nbnet": ("", f"{IMPORTS}; {NBNET}"),
    "import nbnet after them": (IMPORTS, NBNET),
    "first fit ever": (f"{IMPORTS}; {NBNET}; {DATA}", FIT_NBNET),
    "first fit, cached": (f"{IMPORTS}; {NBNET}; {DATA}", FIT_NBNET),
    "second fit": (f"{IMPORTS}; {NBNET}; {DATA}; {FIT_NBNET}", FIT_NBNET),
    "first fit of scikit-learn": (f"{IMPORTS}; {DATA}", FIT_SKLEARN),
    "second fit of scikit-learn": (f"{IMPORTS}; {DATA}; {FIT_SKLEARN}", FIT_SKLEARN),
}
COLD = "first fit ever"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", metavar="PATH", help="write the result there")
    parser.add_argument("--quick", action="store_true", help="once each: a smoke test")
    options = parser.parse_args()

    seconds: dict[str, list[float]] = {name: [] for name in MEASUREMENTS}
    for _ in range(1 if options.quick else options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            # The cold fit comes first, as MEASUREMENTS has it: the cached ones read what it wrote.
            for name, (before, timed) in MEASUREMENTS.items():
                if name == COLD and any(path.is_file() for path in Path(cache).rglob("*")):
                    raise RuntimeError("something compiled before the first fit: importing nbnet?")
                seconds[name].append(measure(before, timed, cache))
    result = machine.describe(["scikit-learn", "numba", "numpy"])
    result["seconds"] = {name: statistics.median(values) for name, values in seconds.items()}
    result["all_seconds"] = seconds
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores")
    for name, value in result["seconds"].items():
        spread = f"{min(seconds[name]):.3f} – {max(seconds[name]):.3f}"
        print(f"{name:36}{value:8.3f} s   ({spread})")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


def measure(before: str, timed: str, cache: str) -> float:
    """Seconds that `timed` takes in a fresh process after `before`."""
    script = f"{before}\nimport time\nstart = time.perf_counter()\n{timed}\n"
    script += "print(time.perf_counter() - start)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
