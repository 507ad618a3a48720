"""Draw the README's tables from the JSON of the benchmarks.

    python -m benchmarks.training --json benchmarks/results/training.json
    python -m benchmarks.startup --json benchmarks/results/startup.json
    python -m benchmarks.report                  prints the tables
    python -m benchmarks.report --write          and puts them into README.md

The README's are those of the results that are kept with the code; a test compares them.
"""

import argparse
import json
from pathlib import Path

from benchmarks.systems import parse
from benchmarks.workloads import Workload

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = "<!-- speed: begin, written by `python -m benchmarks.report --write` -->"
END = "<!-- speed: end -->"
LABELS = {"nbnet": "nbnet", "sklearn": "scikit-learn", "torch": "PyTorch", "jax": "JAX"}


def training_table(result: dict) -> str:
    """Return milliseconds per epoch, one row a workload."""
    systems = list(next(iter(result["workloads"].values()))["systems"])
    peers = [name for name in systems if name != "nbnet"]
    lines = [
        row("", "network", *map(label, systems), "best peer ÷ nbnet", "nbnet's share of peak"),
        row(*[":--"] * 2, *["--:"] * (len(systems) + 2)),
    ]
    for name, measured in result["workloads"].items():
        workload, runs = Workload(**measured["workload"]), measured["systems"]
        if not measured["equal"]:
            raise ValueError(f"the losses of {name} do not agree: this is no comparison")
        best = min(runs[peer]["median_ms"] for peer in peers)
        lines.append(
            row(
                f"{name}, {workload.stands_for}",
                f"{'-'.join(map(str, workload.widths))}, batch {workload.batch_size}",
                *(digits(runs[system]["median_ms"]) for system in systems),
                f"{best / runs['nbnet']['median_ms']:.1f}",
                f"{runs['nbnet']['share_of_peak']:.0%}",
            )
        )
    return "\n".join(lines)


def training_note(result: dict) -> str:
    machine, repeats = result["machine"], set()
    for measured in result["workloads"].values():
        repeats |= {len(run["ms_per_epoch"]) for run in measured["systems"].values()}
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"Milliseconds per epoch, float32, Adam; medians of {min(repeats)} turns. "
        f"{machine['cpu']} ({machine['simd']}), {machine['cores']} cores, {machine['system']}, "
        f"peak {result['peak_gflops']['best']:.0f} GF/s, the best rate of a large matrix product "
        f"by any library but nbnet; {versions}; {result['date']}."
    )


def startup_table(result: dict) -> str:
    """Return the seconds before training starts, one row a measurement."""
    lines = [row("in a fresh process", "seconds"), row(":--", "--:")]
    lines += [row(name, f"{seconds:.2f}") for name, seconds in result["seconds"].items()]
    return "\n".join(lines)


def report(training: dict, startup: dict) -> str:
    """Return the whole region between the README's markers."""
    parts = [training_table(training), training_note(training)]
    parts += [startup_table(startup), f"Medians, {startup['date']}, same machine."]
    return "\n\n".join(parts)


def stored() -> str:
    """Return the report of the results kept with the code; nothing if there are none."""
    files = [RESULTS / "training.json", RESULTS / "startup.json"]
    if not any(file.exists() for file in files):
        return ""
    return report(*(json.loads(file.read_text()) for file in files))


def label(system: str) -> str:
    name, threads = parse(system)
    if threads is None:
        return LABELS[name]
    return f"{LABELS[name]}, {threads} thread{'s' if threads > 1 else ''}"


def row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def digits(milliseconds: float) -> str:
    """Two significant digits, or all before the point."""
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("training", nargs="?", type=Path, default=RESULTS / "training.json")
    parser.add_argument("startup", nargs="?", type=Path, default=RESULTS / "startup.json")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    options = parser.parse_args()

    text = report(json.loads(options.training.read_text()), json.loads(options.startup.read_text()))
    print(text)
    if options.write:
        readme = ROOT / "README.md"
        before, _, rest = readme.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
