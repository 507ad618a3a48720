"""What each extra of training costs nbnet: its epoch over that of plain W2.

Extras are what a step may do besides: dropout, decoupled weight decay, clipping, an average of the
weights, a schedule, label smoothing; and hidden units that need an exponential. All fits live in
one process and take turns as in `benchmarks.training`, each round beginning with another one, so
that a machine that slows down does so for all of them. Printed are medians over the turns, the
spread of the middle half, the ratio of the medians, and the largest ratio that is aimed at.

    python -m benchmarks.extras --json benchmarks/results/extras.json
    python -m benchmarks.extras --workloads W2-dropout,W2-clip --repeats 31
"""

import argparse
import dataclasses
from typing import Any

from benchmarks import program
from benchmarks.systems import make
from benchmarks.training import middle_half, take_turn
from benchmarks.worker import Worker
from benchmarks.workloads import VARIANTS, WORKLOADS, Workload

PLAIN = "W2"
EPOCHS = 3
# The largest ratio to plain W2 that is aimed at.
AIMS = {
    "W2-dropout": 1.10,
    "W2-adamw": 1.03,
    "W2-cosine": 1.03,
    "W2-clip": 1.15,
    "W2-average": 1.03,
    "W2-smoothing": 1.03,
}
NAMES = [
    name for name, work in VARIANTS.items() if work.extras or work.activation in ("silu", "gelu")
]


class Fits:
    """One fit for each workload; lives in a worker."""

    def __init__(self, workloads: list[dict[str, Any]]):
        self.fits = {workload["name"]: make("nbnet", workload) for workload in workloads}

    def train(self, workload: str, epochs: int) -> dict[str, list[float]]:
        return self.fits[workload].train(epochs)


def main() -> None:
    options = parse_arguments()
    workloads: dict[str, Workload] = options.workloads
    result = program.describe(["nbnet"])
    runs: dict[str, dict[str, Any]] = {
        name: {"workload": workload.stored(), "ms_per_epoch": []}
        for name, workload in workloads.items()
    }
    with Worker() as worker:
        stored = [workload.stored() for workload in workloads.values()]
        worker.load("benchmarks.extras:Fits", workloads=stored)
        for name in workloads:
            worker.ask("train", workload=name, epochs=1)  # compiles
        for name in program.turns(list(workloads), options.repeats, "epochs"):
            milliseconds, _ = take_turn(worker, workloads[name].epochs, 0.0, workload=name)
            runs[name]["ms_per_epoch"].append(milliseconds)
    compare(runs)
    show(runs)
    result["extras"] = runs
    program.save(result, options.json)


def compare(runs: dict[str, dict[str, Any]]) -> None:
    """Add medians and their ratios to plain W2's."""
    program.medians(runs, "ms_per_epoch", "median_ms")
    for name, run in runs.items():
        run["ratio"] = run["median_ms"] / runs[PLAIN]["median_ms"]
        run["aim"] = AIMS.get(name)


def show(runs: dict[str, dict[str, Any]]) -> None:
    print(f"\n{'':36}{'ms/epoch':>9}{'middle half':>18}{f'× {PLAIN}':>9}{'aim':>7}")
    for name, run in runs.items():
        low, high = middle_half(run["ms_per_epoch"])
        aim = "" if run["aim"] is None else f"{run['aim']:.2f}"
        what = "plain" if name == PLAIN else run["workload"]["stands_for"]
        print(
            f"{what:36}{run['median_ms']:9.2f}{f'{low:.2f} – {high:.2f}':>18}"
            f"{run['ratio']:9.3f}{aim:>7}"
        )


def parse_arguments() -> argparse.Namespace:
    parser = program.parser("benchmarks.extras", __doc__, repeats=21)
    parser.add_argument("--workloads", metavar="W2-dropout,W2-clip", help="in place of all")
    options = parser.parse_args()
    names = options.workloads.split(",") if options.workloads else NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"unknown workload {name!r}; there are {NAMES}")
    known = WORKLOADS | VARIANTS
    workloads = {name: dataclasses.replace(known[name], epochs=EPOCHS) for name in [PLAIN, *names]}
    if options.quick:
        workloads = {
            name: dataclasses.replace(work.smaller(500), epochs=1)
            for name, work in workloads.items()
        }
        options.repeats = 1
    options.workloads = workloads
    return options


if __name__ == "__main__":
    main()
