"""Milliseconds per training epoch of nbnet, scikit-learn, PyTorch and JAX, for equal work.

Each system lives in a worker process and takes its turn. A turn trains twice from the same initial
parameters, for one epoch and for one plus `--epochs`; the difference of the two times is that many
epochs, free of setup and warm-up. Short workloads repeat this within the turn. Printed are medians
over the turns, with the spread of the middle half; apart from them, under "first call", what the
very first epoch in the process took longer than the second: compiling, mostly.

The work is equal: same data, dtype, initial parameters, order of rows, batches (the short last one
kept), optimizer and epochs, the shuffle counted for all. So the loss curves must agree. They are
held against scikit-learn's, or where it takes no part the first system's: in float32 the first
epoch's loss within 0.1 %, the last within 5 %, because rounding is amplified from step to step; in
float64 within 1e-8 and 1e-6. With dropout each system draws masks of its own: within 2 % and 3.5 %.
The scores of held-out rows must agree within 0.02, the loss of averaged parameters as the last one.
Otherwise the table says UNEQUAL and the exit status is 1. A system that does not offer what a
workload asks for is left out there.

    python -m benchmarks.training                          everything that is installed
    python -m benchmarks.training --set variants --repeats 3      other units, losses, solvers, ...
    python -m benchmarks.training --processor avx2 --workloads W2,W3,W4
    python -m benchmarks.training --workloads W1,W5 --systems nbnet,jax --repeats 9
    python -m benchmarks.training --quick                  a smoke test; its times mean nothing
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time

from benchmarks import peak, program
from benchmarks.systems import can, parse
from benchmarks.worker import Worker
from benchmarks.workloads import VARIANTS, WORKLOADS, Workload

# First and last loss, relative.
TOLERANCES = {"float32": (1e-3, 5e-2), "float64": (1e-8, 1e-6)}
# Three times the deviation between two fits with other masks: on W2-dropout that is 0.5 % and 1.2 %
# (20 fits each by nbnet, PyTorch and JAX, of which one deviates by 0.3 % and 0.8 %), on 500 rows
# of it 0.7 % and 0.8 %.
DROPOUT_TOLERANCES = (2e-2, 3.5e-2)
SCORE_TOLERANCE = 0.02
TURN_SECONDS = 0.5  # a turn goes on at least so long


def main() -> int:
    options = parse_arguments()
    environment = program.PROCESSORS[options.processor]
    result = program.describe(options.systems)
    result["processor"] = options.processor
    highest = peak.measure(environment, quick=options.quick)
    result["workloads"] = {}
    with (
        tempfile.TemporaryDirectory() as cache,
        program.open_workers(
            # nbnet compiles as on a machine that never ran it; a smoke test need not wait for that.
            options.systems, **environment, **({} if options.quick else {"NUMBA_CACHE_DIR": cache})
        ) as workers,
    ):  # fmt: skip
        for workload in options.workloads:
            result["workloads"][workload.name] = measure(
                workload, workers, options.repeats, 0.0 if options.quick else TURN_SECONDS
            )
    # The machine may have been busy the first time.
    highest = peak.higher(highest, peak.measure(environment, quick=options.quick))
    for measured in result["workloads"].values():
        compare(measured, highest)
        print_workload(measured)
    peak.show(highest)
    result["peak"] = highest
    return program.finish(result, options.json, result["workloads"].values())


def measure(
    workload: Workload, workers: dict[str, Worker], repeats: int, turn_seconds: float
) -> dict:
    """Let the systems take turns at one workload."""
    runs = {}
    for name, worker in workers.items():
        if can(name, workload):
            worker.load("benchmarks.systems:make", system=name, workload=workload.stored())
            first, second = (worker.ask("train", epochs=1)["seconds"] for _ in range(2))
            runs[name] = {"first_call_seconds": max(0.0, first - second), "ms_per_epoch": []}
    for name in program.turns(list(runs), repeats, workload.name):
        milliseconds, curves = take_turn(workers[name], workload.epochs, turn_seconds)
        runs[name]["ms_per_epoch"].append(milliseconds)
        runs[name] |= curves
    if workload.average:  # the losses are those of the parameters themselves
        for name, run in runs.items():
            run["averaged_loss"] = workers[name].ask("averaged_loss")["result"]
    return {"workload": workload.stored(), "systems": runs}


def take_turn(worker: Worker, epochs: int, turn_seconds: float, **which: str) -> tuple[float, dict]:
    """Milliseconds per epoch after the warm-up epoch, and the losses of all epochs.

    `which` goes to a worker that has more than one fit.
    """
    times = []
    start = time.perf_counter()
    while not times or time.perf_counter() - start < turn_seconds:
        one = worker.ask("train", epochs=1, **which)
        all_ = worker.ask("train", epochs=1 + epochs, **which)
        times.append(1e3 * (all_["seconds"] - one["seconds"]) / epochs)
    return statistics.median(times), all_["result"]


def compare(measured: dict, rates: dict | None = None) -> None:
    """Add medians, ratios to nbnet, shares of the peak if given, and whether the losses agree."""
    workload, runs = Workload.of(measured["workload"]), measured["systems"]
    program.medians(runs, "ms_per_epoch", "median_ms")
    reference = runs.get("sklearn") or next(iter(runs.values()))
    for name, run in runs.items():
        if workload.solver != "lbfgs":  # an iteration there has no fixed number of operations
            run["gflops"] = workload.flops_per_epoch / (run["median_ms"] * 1e-3) / 1e9
            if rates is not None:
                run |= shares(run["gflops"], rates, workload.dtype, parse(name)[1] == 1)
        run["equal"] = agree(run, reference, workload)
    measured["equal"] = all(run["equal"] for run in runs.values())


def shares(gflops: float, rates: dict, dtype: str, one_core: bool) -> dict[str, float]:
    """Shares of what `peak.measure` found, of one core for a system that is held to one thread.

    The products are in float32 and on all cores: no other system is compared with them.
    """
    registers = rates["registers"][dtype]
    found = {
        "share_of_registers": gflops / (registers["1"] if one_core else max(registers.values()))
    }
    if dtype == "float32" and not one_core:
        found["share_of_product"] = gflops / max(rates["products"].values())
    return found


def agree(run: dict, reference: dict, workload: Workload) -> bool:
    """Whether two fits did the same work, by their losses and scores."""
    first, last = DROPOUT_TOLERANCES if workload.dropout else TOLERANCES[workload.dtype]
    scores = zip(run.get("scores", ()), reference.get("scores", ()), strict=True)
    return (
        abs(run["losses"][0] / reference["losses"][0] - 1) <= first
        and abs(run["losses"][-1] / reference["losses"][-1] - 1) <= last
        and abs(run.get("averaged_loss", 1.0) / reference.get("averaged_loss", 1.0) - 1) <= last
        and all(abs(a - b) <= SCORE_TOLERANCE for a, b in scores)
    )


def print_workload(measured: dict) -> None:
    workload = Workload.of(measured["workload"])
    widths = "-".join(map(str, workload.widths))
    print(
        f"\n{workload.name}: {workload.stands_for}; {workload.n_samples:,} rows, {widths}, "
        f"batches of {workload.batch_size}, {workload.epochs} + 1 epochs"
    )
    print(
        f"{'':12}{'ms/epoch':>9}{'middle half':>18}{'× nbnet':>9}{'of peak':>9}"
        f"{'of product':>12}"
        f"{'first call s':>14}{'final loss':>12}"
    )
    for name, run in measured["systems"].items():
        low, high = middle_half(run["ms_per_epoch"])
        ratio = f"{run['ratio_to_nbnet']:.2f}" if "ratio_to_nbnet" in run else "-"
        peak, product = (
            f"{run[share]:.1%}" if share in run else "-"
            for share in ("share_of_registers", "share_of_product")
        )
        print(
            f"{name:12}{run['median_ms']:9.2f}{f'{low:.2f} – {high:.2f}':>18}{ratio:>9}"
            f"{peak:>9}{product:>12}{run['first_call_seconds']:14.2f}{run['losses'][-1]:12.6f}"
            f"{'' if run['equal'] else '  UNEQUAL'}"
        )


def middle_half(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[0], quartiles[2]


def parse_arguments() -> argparse.Namespace:
    parser = program.parser("benchmarks.training", __doc__, repeats=5)
    program.add_systems(parser)
    parser.add_argument("--set", choices=["main", "variants"], default="main")
    parser.add_argument("--workloads", metavar="W1,W2-tanh", help="in place of a set")
    parser.add_argument("--epochs", type=int, help="timed epochs in place of the workload's own")
    program.add_processor(parser)
    options = parser.parse_args()

    options.systems = program.parse_systems(parser, options.systems)
    known, chosen = WORKLOADS | VARIANTS, WORKLOADS if options.set == "main" else VARIANTS
    names = options.workloads.split(",") if options.workloads else list(chosen)
    for name in names:
        if name not in known:
            parser.error(f"unknown workload {name!r}; there are {list(known)}")
    workloads = [known[name] for name in names]
    if options.epochs is not None:
        if options.epochs < 1:
            parser.error(f"--epochs must be at least 1, got {options.epochs}")
        workloads = [dataclasses.replace(w, epochs=options.epochs) for w in workloads]
    if options.quick:
        workloads = [dataclasses.replace(w.smaller(500), epochs=1) for w in workloads]
        options.repeats = 1
    options.workloads = workloads
    return options


if __name__ == "__main__":
    sys.exit(main())
