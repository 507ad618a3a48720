"""What the programs share: their options, systems and workers, turns, and how results are kept."""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.systems import PACKAGES, available, parse
from benchmarks.worker import Worker

Column = Callable[[dict[str, Any]], str]

PAUSE_SECONDS = 0.05  # between turns: thread pools stop spinning

# What holds each system to AVX2 on a machine that has more.
PROCESSORS: dict[str, dict[str, str]] = {
    "native": {},
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
}


def parser(module: str, description: str, repeats: int) -> argparse.ArgumentParser:
    """Return a parser of the options that every program has."""
    options = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--repeats", type=int, default=repeats, help="turns of each system")
    options.add_argument("--json", metavar="PATH", help="write the result there")
    options.add_argument("--quick", action="store_true", help="a smoke test: little work, one turn")
    return options


def add_systems(options: argparse.ArgumentParser) -> None:
    options.add_argument("--systems", metavar="nbnet,sklearn,torch-2,jax")


def add_processor(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--processor", choices=list(PROCESSORS), default="native",
        help="what all systems are held to",
    )  # fmt: skip


def parse_systems(options: argparse.ArgumentParser, chosen: str | None) -> list[str]:
    """Names of the chosen systems, or of all that are installed."""
    installed = available(machine.cores())
    names = chosen.split(",") if chosen else installed
    for name in names:
        if parse(name)[0] not in {parse(other)[0] for other in installed}:
            options.error(f"unknown or missing system {name!r}; installed here: {installed}")
        if parse(name)[0] == "torch" and not parse(name)[1]:
            options.error("torch needs a number of threads, such as torch-2")
    return names


def describe(systems: list[str]) -> dict[str, Any]:
    """Machine, versions and date, which every result begins with; printed too."""
    packages = [PACKAGES[parse(name)[0]] for name in systems]
    result = machine.describe([*packages, "numba", "numpy"])
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores")
    print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    return result


@contextlib.contextmanager
def open_workers(systems: list[str], **environment: str) -> Iterator[dict[str, Worker]]:
    """One process for each system."""
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Worker(**environment)) for name in systems}


def turns(names: list[str], repeats: int, what: str) -> Iterator[str]:
    """Yield each name once a round, every round beginning with another one."""
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            print(f"{what}: turn {repeat + 1} of {repeats}, {name}", file=sys.stderr)
            time.sleep(PAUSE_SECONDS)
            yield name


def medians(runs: dict[str, dict[str, Any]], values: str, median: str) -> None:
    """Add to each system's run the median of its values, and its ratio to nbnet's."""
    for run in runs.values():
        run[median] = statistics.median(run[values])
    if "nbnet" in runs:
        for run in runs.values():
            run["ratio_to_nbnet"] = run[median] / runs["nbnet"][median]


def show(title: str, runs: dict[str, dict[str, Any]], columns: dict[str, Column]) -> None:
    """Print a table: one row a run, and columns by their heads."""
    print(f"\n{title:20}" + "".join(f"{head:>20}" for head in columns))
    for name, run in runs.items():
        cells = "".join(f"{cell(run):>20}" for cell in columns.values())
        print(f"{name:20}{cells}{'' if run['equal'] else '  UNEQUAL'}")


def finish(result: dict[str, Any], path: str | None, runs: Iterable[dict[str, Any]]) -> int:
    """Write the result; return the exit status, 1 if any run did not do the same work."""
    save(result, path)
    return 0 if all(run["equal"] for run in runs) else 1


def save(result: dict[str, Any], path: str | None) -> None:
    if path:
        Path(path).write_text(json.dumps(result, indent=1) + "\n")
