"""Microseconds to predict the probabilities of many rows, and of one, on W2's network.

All systems have the same weights; their probabilities are compared first. The calls of a turn are
timed one by one within the worker; given are medians over all turns. nbnet and scikit-learn predict
through their estimators, which validate X; PyTorch and JAX run the bare forward pass.

    python -m benchmarks.prediction --json benchmarks/results/prediction.json
"""

import sys
import time
from typing import Any

import numpy as np

from benchmarks import program
from benchmarks.systems import make
from benchmarks.workloads import WORKLOADS

TOLERANCE = 1e-4  # of a probability, in float32
CALLS = {100_000: 3, 1: 300}  # rows: calls a turn
WORKLOAD = WORKLOADS["W2"]


class Prediction:
    """A system with its rows; lives in a worker."""

    def __init__(self, system: str):
        self.predict = make(system, WORKLOAD.smaller(500).stored()).predictor()

    def probabilities(self, rows: int) -> list[list[float]]:
        """Those of up to a hundred rows spread over all."""
        return self.predict(features(rows))[:: max(1, rows // 100)].tolist()

    def seconds(self, rows: int, calls: int) -> list[float]:
        X, times = features(rows), []
        for _ in range(calls):
            start = time.perf_counter()
            self.predict(X)
            times.append(time.perf_counter() - start)
        return times


def features(rows: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, WORKLOAD.n_features), dtype=np.float32)


def main() -> int:
    parser = program.parser("benchmarks.prediction", __doc__, repeats=15)
    program.add_systems(parser)
    options = parser.parse_args()
    systems = program.parse_systems(parser, options.systems)
    calls = CALLS
    if options.quick:
        options.repeats, calls = 1, {1000: 1, 1: 10}
    result: dict[str, Any] = program.describe(systems)
    result["rows"] = {}
    with program.open_workers(systems) as workers:
        for worker_name, worker in workers.items():
            worker.load("benchmarks.prediction:Prediction", system=worker_name)
        for rows, times in calls.items():
            outputs = {
                name: np.array(worker.ask("probabilities", rows=rows)["result"])
                for name, worker in workers.items()
            }
            reference = outputs.get("sklearn", next(iter(outputs.values())))
            runs = {
                name: {
                    "seconds": [],
                    "largest_difference": float(abs(output - reference).max()),
                    "equal": bool(abs(output - reference).max() <= TOLERANCE),
                }
                for name, output in outputs.items()
            }
            for name in program.turns(systems, options.repeats, f"{rows:,} rows"):
                answer = workers[name].ask("seconds", rows=rows, calls=times)
                runs[name]["seconds"] += answer["result"]
            program.medians(runs, "seconds", "median_seconds")
            result["rows"][str(rows)] = runs
            for run in runs.values():
                del run["seconds"]  # thousands
            columns = {
                "microseconds": lambda run: f"{1e6 * run['median_seconds']:.1f}",
                "largest difference": lambda run: f"{run['largest_difference']:.1e}",
            }
            program.show(f"{rows:,} rows", runs, columns)
    measured = result["rows"].values()
    return program.finish(result, options.json, (run for runs in measured for run in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
