"""How much longer an epoch takes while another process keeps one of the cores busy.

The workloads and the way of measuring are those of `benchmarks.training`; every turn is taken
twice, in quiet and beside the neighbour, an endless loop that is bound to one core where the system
allows that. A system whose threads all have to wait for the slowest one suffers most.

    python -m benchmarks.neighbour --json benchmarks/results/neighbour.json
"""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks import program
from benchmarks.training import agree, take_turn
from benchmarks.workloads import WORKLOADS

EPOCHS = 2
BUSY = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print("busy", flush=True)
while True:
    pass
"""


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, env=os.environ)
    try:
        process.stdout.readline()  # it has begun
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> int:
    parser = program.parser("benchmarks.neighbour", __doc__, repeats=3)
    program.add_systems(parser)
    options = parser.parse_args()
    systems = program.parse_systems(parser, options.systems)
    workloads = [dataclasses.replace(work, epochs=EPOCHS) for work in WORKLOADS.values()]
    if options.quick:
        workloads = [dataclasses.replace(work.smaller(500), epochs=1) for work in workloads]
        options.repeats = 1
    result: dict[str, Any] = program.describe(systems)
    result["workloads"] = {}
    with program.open_workers(systems) as workers:
        for workload in workloads:
            runs: dict[str, dict[str, Any]] = {}
            for name, worker in workers.items():
                worker.load("benchmarks.systems:make", system=name, workload=workload.stored())
                worker.ask("train", epochs=1)
                runs[name] = {"quiet_ms": [], "disturbed_ms": []}
            for name in program.turns(systems, options.repeats, workload.name):
                for key, surroundings in (
                    ("quiet_ms", contextlib.nullcontext()),
                    ("disturbed_ms", neighbour()),
                ):
                    with surroundings:
                        milliseconds, curves = take_turn(workers[name], workload.epochs, 0.0)
                    runs[name][key].append(milliseconds)
                runs[name] |= curves
            result["workloads"][workload.name] = runs
            reference = runs.get("sklearn") or next(iter(runs.values()))
            for run in runs.values():
                for key in ("quiet", "disturbed"):
                    run[f"median_{key}_ms"] = statistics.median(run[f"{key}_ms"])
                run["ratio"] = run["median_disturbed_ms"] / run["median_quiet_ms"]
                run["equal"] = agree(run, reference, workload)
            columns = {
                "quiet, ms/epoch": lambda run: f"{run['median_quiet_ms']:.2f}",
                "disturbed": lambda run: f"{run['median_disturbed_ms']:.2f}",
                "ratio": lambda run: f"{run['ratio']:.2f}",
            }
            program.show(workload.name, runs, columns)
    measured = result["workloads"].values()
    return program.finish(result, options.json, (run for runs in measured for run in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
