"""Memory that a fit needs beyond what was there before it, as a multiple of X.

X is 1,000,000 × 30 of float32, 120 MB; one epoch of 100 hidden units in batches of 200. Each fit
runs in a fresh process that has done everything once on a few rows before, so that code and
libraries do not count. In one fit X is an array in memory, in the other a file that is mapped.

On Linux two numbers are given. The whole: the highest resident set of the process (VmHWM) less the
resident set before the fit; with a mapped file this holds the pages read from it, which the system
may drop at any time. And the anonymous part alone (RssAnon), looked at every few milliseconds: what
nobody can drop. Elsewhere only the first is known, from `resource.getrusage`.

    python -m benchmarks.memory --json benchmarks/results/memory.json
"""

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import program
from benchmarks.worker import Worker

ROWS, FEATURES, WARM_UP_ROWS = 1_000_000, 30, 1000
LOSS_TOLERANCE = 1e-2
STATUS = Path("/proc/self/status")
MIB = 2**20


def resident() -> dict[str, int]:
    """Bytes of this process by the names of Linux; the highest alone elsewhere."""
    if STATUS.exists():
        fields = (line.split() for line in STATUS.read_text().splitlines())
        return {field[0][:-1]: 1024 * int(field[1]) for field in fields if field[-1] == "kB"}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    highest = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"VmHWM": highest, "VmRSS": highest}


class Fit:
    """A fit on the rows of a file; lives in a worker."""

    def __init__(self, library: str, folder: str, mapped: bool):
        if library == "nbnet":
            from nbnet import MLPClassifier
        else:
            from sklearn.neural_network import MLPClassifier
        import warnings

        warnings.simplefilter("ignore")  # one epoch is not enough, as wanted
        self.X = np.load(Path(folder) / "X.npy", mmap_mode="r" if mapped else None)
        self.y = np.load(Path(folder) / "y.npy")
        self.model = MLPClassifier(batch_size=200, max_iter=1, random_state=0)
        self.model.fit(np.array(self.X[:WARM_UP_ROWS]), self.y[:WARM_UP_ROWS])

    def run(self) -> dict[str, float]:
        """Extra bytes, seconds and loss."""
        before = resident()
        anonymous = [before.get("RssAnon", 0)]
        done = threading.Event()

        def watch() -> None:
            while "RssAnon" in before and not done.wait(0.005):
                anonymous.append(resident()["RssAnon"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        self.model.fit(self.X, self.y)
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        extra = {"whole": resident()["VmHWM"] - before["VmRSS"]}
        if "RssAnon" in before:
            extra["anonymous"] = max(anonymous) - anonymous[0]
        return {"extra": extra, "seconds": seconds, "loss": float(self.model.loss_)}


def main() -> int:
    parser = program.parser("benchmarks.memory", __doc__, repeats=3)
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    rows = 20_000 if options.quick else ROWS
    result: dict[str, Any] = program.describe(["nbnet", "sklearn"])
    result["bytes_of_X"] = rows * FEATURES * 4
    cases = [f"{library}, {kind}" for library in ("nbnet", "sklearn") for kind in ("array", "file")]
    runs: dict[str, dict[str, Any]] = {case: {"extra": []} for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((rows, FEATURES), dtype=np.float32)
        np.save(Path(folder) / "X.npy", X)
        np.save(Path(folder) / "y.npy", (X[:, :5].sum(axis=1) > 0).astype(np.int64))
        del X
        fit(folder, "nbnet, array")  # compiles
        for case in program.turns(cases, options.repeats, "fit"):
            answer = fit(folder, case)
            runs[case]["extra"].append(answer["extra"])
            runs[case] |= {"seconds": answer["seconds"], "loss": answer["loss"]}
    for run in runs.values():
        reference = runs["sklearn, array"]["loss"]
        run["equal"] = abs(run["loss"] / reference - 1) <= LOSS_TOLERANCE
        run["multiple_of_X"] = {
            kind: statistics.median(extra[kind] for extra in run["extra"]) / result["bytes_of_X"]
            for kind in run["extra"][0]
        }
    columns = {
        kind: lambda run, kind=kind: f"{run['multiple_of_X'][kind]:.2f}"
        for kind in runs[cases[0]]["multiple_of_X"]
    }
    program.show("extra, times X", runs, columns)
    result["fits"] = runs
    return program.finish(result, options.json, runs.values())


def fit(folder: str, case: str) -> dict[str, Any]:
    library, kind = case.split(", ")
    with Worker() as worker:
        worker.load(
            "benchmarks.memory:Fit", library=library, folder=folder, mapped=kind == "file"
        )  # fmt: skip
        return worker.ask("run")["result"]


if __name__ == "__main__":
    sys.exit(main())
