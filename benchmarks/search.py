"""Seconds of a grid search, as people run it: 12 configurations × 5 folds on scikit-learn's digits.

Each search runs in a fresh process with two jobs, from the call of `GridSearchCV.fit` to its end:
joblib's starting of its own processes counts, importing and loading the digits before does not.
nbnet's kernels are cached on disk beforehand. Data are float64 and all fits have the same seed, so
both libraries must find the same scores: the means over the folds within 0.01 of each other and the
best within 0.005.

    python -m benchmarks.search --json benchmarks/results/search.json
"""

import os
import statistics
import sys
import tempfile
import warnings
from typing import Any

from benchmarks import program
from benchmarks.worker import Worker

JOBS, FOLDS, EPOCHS = 2, 5, 100
GRID = {
    "hidden_layer_sizes": [(50,), (100,), (100, 50)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 3e-3],
}
SMALL_GRID = {"hidden_layer_sizes": [(10,)], "alpha": [1e-4, 1e-2]}
SCORE_TOLERANCE, BEST_TOLERANCE = 0.01, 0.005
# Name in the result: library, joblib's backend.
SEARCHES = {
    "nbnet, loky": ("nbnet", "loky"),
    "nbnet, threading": ("nbnet", "threading"),
    "sklearn, loky": ("sklearn", "loky"),
}


class Search:
    """One search; lives in a worker."""

    def __init__(self, library: str, backend: str, quick: bool):
        from sklearn.datasets import load_digits
        from sklearn.model_selection import GridSearchCV

        if library == "nbnet":
            from nbnet import MLPClassifier
        else:
            from sklearn.neural_network import MLPClassifier
        warnings.simplefilter("ignore")  # not all configurations converge
        X, y = load_digits(return_X_y=True)
        self.X, self.y, self.backend = X / 16, y, backend
        self.search = GridSearchCV(
            MLPClassifier(max_iter=5 if quick else EPOCHS, random_state=0),
            SMALL_GRID if quick else GRID,
            cv=2 if quick else FOLDS,
            n_jobs=JOBS,
        )

    def run(self) -> list[float]:
        """Mean scores of the configurations."""
        import joblib

        with joblib.parallel_config(self.backend):
            self.search.fit(self.X, self.y)
        return self.search.cv_results_["mean_test_score"].tolist()


def main() -> int:
    parser = program.parser("benchmarks.search", __doc__, repeats=3)
    options = parser.parse_args()
    if options.quick:
        options.repeats = 1
    result: dict[str, Any] = program.describe(["nbnet", "sklearn"])
    runs: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in SEARCHES}
    with tempfile.TemporaryDirectory() as cache:
        environment = {"PYTHONWARNINGS": "ignore"}  # for joblib's processes
        if not os.environ.get("NUMBA_CACHE_DIR"):
            environment["NUMBA_CACHE_DIR"] = cache
        search("nbnet", "threading", True, environment)  # compiles
        for name in program.turns(list(SEARCHES), options.repeats, "search"):
            answer = search(*SEARCHES[name], options.quick, environment)
            runs[name]["seconds"].append(answer["seconds"])
            runs[name]["scores"] = answer["result"]
    result["searches"] = runs
    reference = runs["sklearn, loky"]["scores"]
    for run in runs.values():
        run["median_seconds"] = statistics.median(run["seconds"])
        run["best_score"] = max(run["scores"])
        run["equal"] = agree(run["scores"], reference)
    columns = {
        "seconds": lambda run: f"{run['median_seconds']:.2f}",
        "best score": lambda run: f"{run['best_score']:.4f}",
    }
    program.show("", runs, columns)
    return program.finish(result, options.json, runs.values())


def search(library: str, backend: str, quick: bool, environment: dict[str, str]) -> dict[str, Any]:
    with Worker(**environment) as worker:
        worker.load("benchmarks.search:Search", library=library, backend=backend, quick=quick)
        return worker.ask("run")


def agree(scores: list[float], reference: list[float]) -> bool:
    """Whether two searches found the same."""
    return abs(max(scores) - max(reference)) <= BEST_TOLERANCE and all(
        abs(a - b) <= SCORE_TOLERANCE for a, b in zip(scores, reference, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
