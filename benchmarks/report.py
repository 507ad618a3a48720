"""Draw the tables of README.md and docs/benchmarks.md, and the curves, from the benchmarks' JSON.

    python -m benchmarks.report                  prints the tables
    python -m benchmarks.report --write          and puts them into the documents

The documents' are those of the results that are kept with the code, in benchmarks/results/; a test
compares them. A result that is not there leaves its section out; one whose systems did not do equal
work is refused.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import curves, peak
from benchmarks.systems import label
from benchmarks.workloads import Workload

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = Path("images") / "curves.svg"  # in docs/
BEGIN = "<!-- speed: begin, written by `python -m benchmarks.report --write` -->"
END = "<!-- speed: end -->"
# Heads of the columns of nbnet's shares.
SHARES = {
    "share_of_registers": "nbnet's share of the peak",
    "share_of_product": "of the best product",
}


# --- A section each: from a result to Markdown


def training(result: dict) -> str:
    """Milliseconds per epoch, one row a workload, and where they were measured."""
    return f"{training_table(result)}\n\n{training_note(result)}"


def training_table(result: dict, main: bool = True) -> str:
    """Milliseconds per epoch, one row a workload.

    `main` adds the names of the workloads and nbnet's two shares of the peak.
    """
    measured = result["workloads"]
    systems = list(dict.fromkeys(name for one in measured.values() for name in one["systems"]))
    head = ["", "network", *map(label, systems), "best peer ÷ nbnet"]
    rows = []
    for name, one in measured.items():
        check_equal(name, one["systems"].values())
        workload, runs = Workload.of(one["workload"]), one["systems"]
        times = {system: run["median_ms"] for system, run in runs.items()}
        rows.append(
            [
                f"{name}, {workload.stands_for}" if main else workload.stands_for,
                f"{'-'.join(map(str, workload.widths))}, batch {workload.batch_size}",
                *(digits(times.get(system)) for system in systems),
                best_peer(times),
                *(percent(runs["nbnet"].get(share)) for share in SHARES if main),
            ]
        )
    return table(head + list(SHARES.values()) * main, rows, text=2)


def training_note(result: dict) -> str:
    turns = {
        len(run["ms_per_epoch"])
        for one in result["workloads"].values()
        for run in one["systems"].values()
    }
    return (
        f"Milliseconds per epoch, float32, Adam; medians of {min(turns)} turns. "
        f"{peak_note(result['peak'])} {provenance(result)}"
    )


def peak_note(rates: dict) -> str:
    """Tell what the shares are of."""
    registers = " and ".join(
        f"{rate:.0f} GF/s on {threads} {'core' if threads == '1' else 'cores'}"
        for threads, rate in rates["registers"]["float32"].items()
    )
    library = max(rates["products"], key=rates["products"].get)
    return (
        f"The peak: fused multiply-adds in registers, {registers}. The best "
        f"product: two large matrices on all cores, {rates['products'][library]:.0f} GF/s, by "
        f"{peak.LIBRARIES[library]}."
    )


def variants(result: dict) -> str:
    return (
        f"{training_table(result, main=False)}\n\nMilliseconds per epoch; float32, Adam and ReLU "
        f"where nothing else is said; a dash where a system does not offer it. {provenance(result)}"
    )


def avx2(result: dict) -> str:
    if result["processor"] != "avx2":
        raise ValueError("the result was not measured with --processor avx2")
    return training(result)


def picture(result: dict) -> str:
    for curve, points in result["curves"].items():
        check_equal(curve, points)
    return (
        f"![GF/s of all systems against width, batch and depth]({PICTURE})\n\n"
        f"One network, 54-256-256-7 in batches of 256, float32, Adam; one thing changes at a time. "
        f"{provenance(result)}"
    )


def prediction(result: dict) -> str:
    systems = list(next(iter(result["rows"].values())))
    rows = []
    for count, runs in result["rows"].items():
        check_equal(f"{count} rows", runs.values())
        times = {system: 1e6 * run["median_seconds"] for system, run in runs.items()}
        rows.append(
            [
                f"{int(count):,}",
                *(digits(times[system]) for system in systems),
                f"{times['sklearn'] / times['nbnet']:.1f}",
                best_peer(times),
            ]
        )
    head = ["rows", *map(label, systems), "scikit-learn ÷ nbnet", "best peer ÷ nbnet"]
    return (
        f"{table(head, rows)}\n\nMicroseconds, float32, 54-256-256-7; PyTorch and JAX without what "
        f"an estimator does around the network. {provenance(result)}"
    )


def search(result: dict) -> str:
    runs = result["searches"]
    check_equal("search", runs.values())
    rows = []
    for name, run in runs.items():
        system, _, backend = name.partition(", ")
        ratio = runs["sklearn, loky"]["median_seconds"] / run["median_seconds"]
        cells = digits(run["median_seconds"]), f"{run['best_score']:.4f}", f"{ratio:.1f}"
        rows.append([f"{label(system)}, {backend}", *cells])
    return (
        f"{table(['', 'seconds', 'best score', 'times as fast'], rows)}\n\n12 configurations × 5 "
        f"folds on the digits, float64, `n_jobs=2`, kernels cached. {provenance(result)}"
    )


def memory(result: dict) -> str:
    check_equal("memory", result["fits"].values())
    kinds = list(next(iter(result["fits"].values()))["multiple_of_X"])
    rows = []
    for name, run in result["fits"].items():
        system, _, kind = name.partition(", ")
        source = {"array": "X in memory", "file": "X memory-mapped"}[kind]
        extra = (f"{run['multiple_of_X'][kind]:.2f}" for kind in kinds)
        rows.append([f"{label(system)}, {source}", *extra, digits(run["seconds"])])
    shown = {"whole": "peak, all pages", "anonymous": "peak, without pages of files"}
    return (
        f"{table(['', *(shown[kind] for kind in kinds), 'seconds'], rows)}\n\nMemory beyond what "
        f"was there before the fit, as a multiple of X, which has "
        f"{result['bytes_of_X'] / 1e6:.0f} MB. {provenance(result)}"
    )


def neighbour(result: dict) -> str:
    systems = list(next(iter(result["workloads"].values())))
    rows = []
    for name, runs in result["workloads"].items():
        check_equal(name, runs.values())
        rows.append([name, *(f"{runs[system]['ratio']:.1f}" for system in systems)])
    return (
        f"{table(['', *map(label, systems)], rows)}\n\nTime of an epoch beside a process that "
        f"keeps one core busy, over the undisturbed time. {provenance(result)}"
    )


def startup(result: dict) -> str:
    """Seconds before training starts, one row a measurement."""
    rows = [[name, f"{seconds:.2f}"] for name, seconds in result["seconds"].items()]
    return f"{table(['in a fresh process', 'seconds'], rows)}\n\n{provenance(result)}"


# Name of the result, title of its section, what makes it.
SECTIONS: list[tuple[str, str, Callable[[dict], str]]] = [
    ("training", "Training", training),
    ("variants", "Other units, losses, solvers, dtypes, batches, data", variants),
    ("avx2", "All systems held to AVX2", avx2),
    ("curves", "Width, batch, depth", picture),
    ("neighbour", "With a busy neighbour", neighbour),
    ("prediction", "Prediction", prediction),
    ("search", "Grid search", search),
    ("memory", "Memory", memory),
    ("startup", "Start-up", startup),
]


# --- The documents' regions


def load(folder: Path) -> dict[str, dict]:
    """Return the results that are in the folder, by name."""
    files = {name: folder / f"{name}.json" for name, _, _ in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def readme(results: dict[str, dict]) -> str:
    """Return the README's region: training and start-up."""
    parts = {"training": training, "startup": startup}
    return "\n\n".join(make(results[name]) for name, make in parts.items() if name in results)


def page(results: dict[str, dict]) -> str:
    """Return the region of docs/benchmarks.md: all results."""
    return "\n\n".join(
        f"### {title}\n\n{make(results[name])}" for name, title, make in SECTIONS if name in results
    )


DOCUMENTS: dict[str, Callable[[dict[str, dict]], str]] = {
    "README.md": readme,
    "docs/benchmarks.md": page,
}


def region(text: str) -> tuple[str, str, str]:
    """Split a document into what is before its region, the region, and what is after it."""
    before, begin, rest = text.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no region between {BEGIN} and {END}")
    return before + BEGIN, inside.strip(), END + after


def write(results: dict[str, dict]) -> None:
    """Put the tables into the documents, and the picture beside them."""
    for name, make in DOCUMENTS.items():
        path = ROOT / name
        before, _, after = region(path.read_text())
        path.write_text(f"{before}\n\n{make(results)}\n\n{after}")
    if "curves" in results:
        curves.draw(results["curves"], ROOT / "docs" / PICTURE)


# --- Markdown


def check_equal(name: str, runs: Iterable[dict]) -> None:
    if not all(run["equal"] for run in runs):
        raise ValueError(f"the results of {name} do not agree: this is no comparison")


def best_peer(times: dict[str, float]) -> str:
    peers = [time for system, time in times.items() if system != "nbnet"]
    return f"{min(peers) / times['nbnet']:.1f}" if peers else "–"


def provenance(result: dict) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{machine['cpu']} ({machine['simd']}), {machine['cores']} cores, {machine['system']}; "
        f"{versions}; {result['date']}."
    )


def table(head: list[str], rows: list[list[str]], text: int = 1) -> str:
    """Return a Markdown table whose first `text` columns are text and the others numbers."""
    rule = [":--"] * text + ["--:"] * (len(head) - text)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def digits(value: float | None) -> str:
    """Two significant digits, or all before the point; a dash for what was not measured."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def percent(share: float | None) -> str:
    """A whole percentage; a dash for what was not measured."""
    return "–" if share is None else f"{share:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the JSON")
    parser.add_argument("--write", action="store_true", help="put the tables into the documents")
    options = parser.parse_args()

    results = load(options.results)
    print(page(results))
    if options.write:
        write(results)


if __name__ == "__main__":
    main()
