"""Milliseconds per training epoch of nbnet, scikit-learn, PyTorch and JAX, for equal work.

Each system lives in a worker process and takes its turn. A turn trains twice from the same initial
parameters, for one epoch and for one plus `--epochs`; the difference of the two times is that many
epochs, free of setup and warm-up. Short workloads repeat this within the turn. Printed are medians
over the turns, with the spread of the middle half; apart from them, under "first call", what the
very first epoch in the process took longer than the second: compiling, mostly.

The work is equal: same data, dtype, initial parameters, order of rows, batches (the short last one
kept), optimizer and epochs, the shuffle counted for all. So the loss curves must agree. They are
held against scikit-learn's: the first epoch's loss within 0.1 %, the last within 5 %, because the
rounding of float32 is amplified from step to step. Otherwise the table says UNEQUAL and the exit
status is 1.

    python -m benchmarks.training                          everything that is installed
    python -m benchmarks.training --workloads W1,W5 --systems nbnet,jax --repeats 9
    python -m benchmarks.training --quick                  a smoke test; its times mean nothing
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
import tempfile
import time

from benchmarks import machine
from benchmarks.systems import PACKAGES, available, parse
from benchmarks.worker import Worker
from benchmarks.workloads import WORKLOADS, Workload

FIRST_LOSS_TOLERANCE = 1e-3
FINAL_LOSS_TOLERANCE = 5e-2
TURN_SECONDS = 0.5  # a turn goes on at least so long
PAUSE_SECONDS = 0.05  # between turns: thread pools stop spinning


def main() -> int:
    options = parse_arguments()
    result = machine.describe([PACKAGES[parse(name)[0]] for name in options.systems])
    result["versions"] |= machine.describe(["numba", "numpy"])["versions"]
    sizes = [512] if options.quick else [1024, 2048, 4096]
    result["peak_gflops"] = measure_peak(options.systems, sizes)
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    result["workloads"] = {}
    with tempfile.TemporaryDirectory() as cache, contextlib.ExitStack() as stack:
        # A fresh cache: nbnet's compile time is that of a machine that never ran it.
        workers = {
            name: stack.enter_context(Worker(NUMBA_CACHE_DIR=cache)) for name in options.systems
        }
        for workload in options.workloads:
            result["workloads"][workload.name] = measure(workload, workers, options.repeats)
    # The machine may have been busy the first time.
    result["peak_gflops"] = max(
        result["peak_gflops"], measure_peak(options.systems, sizes), key=lambda peak: peak["best"]
    )
    for measured in result["workloads"].values():
        compare(measured, result["peak_gflops"]["best"])
        print_workload(measured)
    print(f"\npeak of a matrix product: {result['peak_gflops']['best']:.0f} GF/s")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    equal = all(measured["equal"] for measured in result["workloads"].values())
    return 0 if equal else 1


def measure_peak(systems: list[str], sizes: list[int]) -> dict[str, float]:
    """Rates of a large float32 product on all cores, by NumPy and PyTorch; and the best of them."""
    peaks = {}
    for system in ["numpy"] + ["torch"] * any(name.startswith("torch") for name in systems):
        with Worker() as worker:
            peaks[system] = worker.ask("peak", system=system, sizes=sizes)["gflops"]
    return {**peaks, "best": max(peaks.values())}


def measure(workload: Workload, workers: dict[str, Worker], repeats: int) -> dict:
    """Let the systems take turns at one workload."""
    runs = {}
    for name, worker in workers.items():
        worker.ask("load", system=name, workload=dataclasses.asdict(workload))
        first, second = worker.ask("train", epochs=1), worker.ask("train", epochs=1)
        runs[name] = {
            "first_call_seconds": max(0.0, first["seconds"] - second["seconds"]),
            "ms_per_epoch": [],
        }
    for repeat in range(repeats):
        turns = list(workers.items())
        turns = turns[repeat % len(turns) :] + turns[: repeat % len(turns)]
        for name, worker in turns:
            print(f"{workload.name}: turn {repeat + 1} of {repeats}, {name}", file=sys.stderr)
            time.sleep(PAUSE_SECONDS)
            milliseconds, losses = take_turn(worker, workload.epochs)
            runs[name]["ms_per_epoch"].append(milliseconds)
            runs[name]["losses"] = losses
    return {"workload": dataclasses.asdict(workload), "systems": runs}


def take_turn(worker: Worker, epochs: int) -> tuple[float, list[float]]:
    """Milliseconds per epoch after the warm-up epoch, and the losses of all epochs."""
    times = []
    start = time.perf_counter()
    while not times or time.perf_counter() - start < TURN_SECONDS:
        one = worker.ask("train", epochs=1)
        all_ = worker.ask("train", epochs=1 + epochs)
        times.append(1e3 * (all_["seconds"] - one["seconds"]) / epochs)
    return statistics.median(times), all_["losses"]


def compare(measured: dict, peak: float) -> None:
    """Add medians, ratios to nbnet, shares of the peak, and whether the losses agree."""
    runs = measured["systems"]
    reference = runs.get("sklearn") or next(iter(runs.values()))
    flops = Workload(**measured["workload"]).flops_per_epoch
    for run in runs.values():
        run["median_ms"] = statistics.median(run["ms_per_epoch"])
        run["share_of_peak"] = flops / (run["median_ms"] * 1e-3) / (peak * 1e9)
        first, last = run["losses"][0], run["losses"][-1]
        run["equal"] = (
            abs(first / reference["losses"][0] - 1) <= FIRST_LOSS_TOLERANCE
            and abs(last / reference["losses"][-1] - 1) <= FINAL_LOSS_TOLERANCE
        )
    if "nbnet" in runs:
        for run in runs.values():
            run["ratio_to_nbnet"] = run["median_ms"] / runs["nbnet"]["median_ms"]
    measured["equal"] = all(run["equal"] for run in runs.values())


def print_workload(measured: dict) -> None:
    workload = Workload(**measured["workload"])
    widths = "-".join(map(str, workload.widths))
    print(
        f"\n{workload.name}: {workload.stands_for}; {workload.n_samples:,} rows, {widths}, "
        f"batches of {workload.batch_size}, {workload.epochs} + 1 epochs"
    )
    print(
        f"{'':12}{'ms/epoch':>9}{'middle half':>16}{'× nbnet':>9}{'of peak':>9}"
        f"{'first call s':>14}{'final loss':>12}"
    )
    for name, run in measured["systems"].items():
        low, high = middle_half(run["ms_per_epoch"])
        ratio = f"{run['ratio_to_nbnet']:.2f}" if "ratio_to_nbnet" in run else "-"
        print(
            f"{name:12}{run['median_ms']:9.2f}{f'{low:.2f} – {high:.2f}':>16}{ratio:>9}"
            f"{run['share_of_peak']:>9.1%}{run['first_call_seconds']:14.2f}{run['losses'][-1]:12.6f}"
            f"{'' if run['equal'] else '  UNEQUAL'}"
        )


def middle_half(values: list[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return quartiles[0], quartiles[2]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workloads", default=",".join(WORKLOADS), metavar="W1,W2")
    parser.add_argument("--systems", metavar="nbnet,sklearn,torch-2,jax")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each system")
    parser.add_argument("--epochs", type=int, help="timed epochs in place of the workload's own")
    parser.add_argument("--json", metavar="PATH", help="write the result there")
    parser.add_argument("--quick", action="store_true", help="few rows, one turn: a smoke test")
    options = parser.parse_args()

    installed = available(machine.cores())
    names = options.systems.split(",") if options.systems else installed
    for name in names:
        if parse(name)[0] not in {parse(other)[0] for other in installed}:
            parser.error(f"unknown or missing system {name!r}; installed here: {installed}")
        if parse(name)[0] == "torch" and not parse(name)[1]:
            parser.error("torch needs a number of threads, such as torch-2")
    options.systems = names
    for name in options.workloads.split(","):
        if name not in WORKLOADS:
            parser.error(f"unknown workload {name!r}; there are {list(WORKLOADS)}")
    workloads = [WORKLOADS[name] for name in options.workloads.split(",")]
    if options.epochs is not None:
        if options.epochs < 1:
            parser.error(f"--epochs must be at least 1, got {options.epochs}")
        workloads = [dataclasses.replace(w, epochs=options.epochs) for w in workloads]
    if options.quick:
        workloads = [dataclasses.replace(w.smaller(1000), epochs=1) for w in workloads]
        options.repeats = 1
    options.workloads = workloads
    return options


if __name__ == "__main__":
    sys.exit(main())
