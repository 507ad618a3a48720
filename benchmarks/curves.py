"""Throughput against width, batch and depth, to see that there is no cliff anywhere.

One network, 54-256-256-7 in batches of 256, of which one thing changes at a time: the width of its
two hidden layers from 1 to 2,048, the batch from 1 to 8,192, the number of hidden layers from 0 to
12. Each point is measured as `benchmarks.training` measures a workload, losses compared included,
with as many rows as make it short, and is given in 10⁹ operations a second of the matrix products.

    python -m benchmarks.curves --json benchmarks/results/curves.json
    python -m benchmarks.report --write                    draws the picture
"""

import argparse
import sys
from pathlib import Path

from benchmarks import program
from benchmarks.systems import label
from benchmarks.training import compare, measure
from benchmarks.workloads import Workload

CURVES = {
    "width": [2**i for i in range(12)],
    "batch": [2**i for i in range(14)],
    "depth": [0, 1, 2, 3, 4, 6, 8, 10, 12],
}
AXES = {
    "width": "units in each of two hidden layers",
    "batch": "rows in a batch",
    "depth": "hidden layers of 256 units",
}
WIDTH, BATCH, DEPTH = 256, 256, 2
TURN_SECONDS = 0.15
# Rows of a point: an epoch shall take a typical system about so long, if it computes at this rate
# and needs this long for a batch and layer however small.
EPOCH_SECONDS, RATE, BATCH_SECONDS = 0.06, 5e10, 1e-4


def point(curve: str, value: int) -> Workload:
    """Return the workload of one point."""
    width = value if curve == "width" else WIDTH
    batch = value if curve == "batch" else BATCH
    depth = value if curve == "depth" else DEPTH
    network = Workload(
        f"{curve} {value}", batch, 54, depth * (width,), 7, batch, 4, AXES[curve]
    )  # fmt: skip
    seconds = network.flops_per_epoch / RATE + BATCH_SECONDS * (1 + depth)
    batches = min(max(2, round(EPOCH_SECONDS / seconds)), 400)
    return Workload(**{**network.stored(), "n_samples": max(64, batches * batch)})


def draw(result: dict, path: Path) -> None:
    """Draw the three curves side by side, one line a system."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="tight")
    panels = figure.subplots(1, len(result["curves"]), sharey=True)
    for axes, (curve, points) in zip(panels, result["curves"].items(), strict=True):
        for system in result["systems"]:
            rates = [point["systems"][system]["gflops"] for point in points]
            values = [point["value"] for point in points]
            strong = {"color": "black", "linewidth": 2.2} if system == "nbnet" else {}
            axes.plot(values, rates, marker="o", markersize=3, label=label(system), **strong)
        if curve != "depth":
            axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(AXES[curve])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("GF/s")
    panels[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same picture from the same numbers: no random names, no date; text stays text.
    with matplotlib.rc_context({"svg.hashsalt": "nbnet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def main() -> int:
    options = parse_arguments()
    result = program.describe(options.systems)
    result["systems"], result["curves"] = options.systems, {}
    with program.open_workers(options.systems) as workers:
        for curve, values in CURVES.items():
            result["curves"][curve] = points = []
            for value in values[:5:4] if options.quick else values:
                workload = point(curve, value)
                if options.quick:
                    workload = workload.smaller(300)
                measured = measure(workload, workers, options.repeats, options.turn_seconds)
                compare(measured)
                runs = measured["systems"]
                for run in runs.values():  # thousands of numbers otherwise
                    del run["ms_per_epoch"], run["losses"], run["first_call_seconds"]
                points.append({"value": value, **measured})
                columns = {
                    "ms/epoch": lambda run: f"{run['median_ms']:.2f}",
                    "GF/s": lambda run: f"{run['gflops']:.2f}",
                }
                program.show(f"{curve} {value:,}", runs, columns)
    curves = result["curves"].values()
    return program.finish(result, options.json, (point for points in curves for point in points))


def parse_arguments() -> argparse.Namespace:
    parser = program.parser("benchmarks.curves", __doc__, repeats=3)
    program.add_systems(parser)
    options = parser.parse_args()
    options.systems = program.parse_systems(parser, options.systems)
    options.turn_seconds = TURN_SECONDS
    if options.quick:
        options.repeats, options.turn_seconds = 1, 0.0
    return options


if __name__ == "__main__":
    sys.exit(main())
