"""A cost model of one step on several cores, held against this machine.

    time(n) = work / (rate · n) · imbalance + meetings · barrier(n) + lines(n) · line

- work: the operations of a step (`Workload.flops_per_epoch`); rate: operations a second on one
  core in this very workload, measured, so it holds all that one thread does besides;
- imbalance: rows go to threads in tiles of 8, so the largest share of 200 rows on 8 cores is 32;
- meetings: two a step; barrier(n): each thread writes one flag and reads n - 1, so it is taken as
  n - 1 times that of two threads, measured;
- lines: what a thread reads that another one wrote, in cache lines of 64 bytes: (n - 1) / n of the
  weights and of their transposed copy in the first phase, of the values and its part of the
  gradients in the second; line: the time that one takes, measured. Optimizer state stays with its
  thread. Prefetching hides some of this, so the term is an upper bound.

Times are the least of `--repeats`: what else runs on the machine only adds to them.

Constants are those of cores that share a last-level cache; across sockets a line costs several
times as much. A step too small for a second thread (`nbnet.kernels.threads`) stays on one; one that
is small enough to be tried on one thread now and then is measured on all of them here.

    python -m benchmarks.scaling --json scaling.json
    python -m benchmarks.scaling --quick                   a smoke test; its times mean nothing
"""

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.workloads import SEED, WORKLOADS, Workload
from nbnet import graph
from nbnet.graph.network import Network
from nbnet.graph.session import Session
from nbnet.kernels import threads
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.barrier import barrier

CORES = (1, 2, 4, 8, 16)
LARGE = 1e12  # operations: as many threads as there may be
TILE = 8  # rows
LINE = 64  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", metavar="PATH", help="write the result there")
    parser.add_argument("--quick", action="store_true", help="few rows, once: a smoke test")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats

    result = machine.describe(["numba", "numpy"])
    here = [n for n in CORES if n <= machine.cores()]
    result["constants"] = constants = {"barrier_us": 0.0, "line_ns": 0.0}
    if len(here) > 1:
        constants |= {"barrier_us": barrier_us(repeats), "line_ns": line_ns(repeats)}
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores")
    print(", ".join(f"{name}: {value:.2f}" for name, value in constants.items()))
    print(f"\n{'':4}{'GF/s':>6}{'KiB read':>10}{'ms per epoch, measured (predicted)':>36}")
    print(f"{'':4}{'1 core':>6}{'2 cores':>10}" + "".join(f"{n:>16}" for n in CORES))
    result["workloads"] = {}
    for workload in WORKLOADS.values():
        if options.quick:
            workload = workload.smaller(1000)
        measured = measure(workload, here, repeats)
        predicted = {n: predict(workload, n, measured[1], **constants) for n in CORES}
        gflops = workload.flops_per_epoch / measured[1] / 1e6
        result["workloads"][workload.name] = {
            "gflops": gflops,
            "bytes_read": bytes_read(workload, 2),
            "one_thread": stays_on_one_thread(workload),
            "measured_ms": measured,
            "predicted_ms": predicted,
        }
        cells = [
            (f"{measured[n]:.1f} " if n in measured else "") + f"({predicted[n]:.1f})"
            for n in CORES
        ]
        print(
            f"{workload.name:4}{gflops:6.0f}{bytes_read(workload, 2) / 1024:10.0f}"
            + "".join(f"{cell:>16}" for cell in cells)
            + ("   one thread: small steps" if stays_on_one_thread(workload) else "")
        )
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


# --- The model


def predict(w: Workload, n: int, one_core: float, barrier_us: float, line_ns: float) -> float:
    """Milliseconds of an epoch on `n` cores, from those on one."""
    if stays_on_one_thread(w):
        n = 1
    tiles = -(-w.batch_size // TILE)
    largest_share = -(-tiles // n) / tiles
    # Of the three products of a layer, two walk over rows in the first phase.
    products = sum(a * b for a, b in zip(w.widths, w.widths[1:], strict=False))
    second = products / (w.flops_per_epoch / w.n_samples / 2)
    work = one_core * ((1 - second) * largest_share + second / n)
    meetings = 2 * len(w.batches) * barrier_us * 1e-3 * (n - 1)
    return work + meetings + len(w.batches) * bytes_read(w, n) / LINE * line_ns * 1e-6


def bytes_read(w: Workload, n: int) -> float:
    """Bytes that a thread reads in a step and another one wrote."""
    products = [a * b for a, b in zip(w.widths, w.widths[1:], strict=False)]
    weights = sum(products) + sum(products[1:])  # and the transposed copy of all but the first
    # Its share of the weights is a stripe of columns: all values, the gradients of the stripe.
    rows = w.batch_size * (sum(w.widths[:-1]) + sum(w.widths[1:]) / n)
    return (n - 1) / n * (weights + rows) * np.dtype(w.dtype).itemsize


def stays_on_one_thread(w: Workload) -> bool:
    step = w.flops_per_epoch / w.n_samples * w.batch_size
    return threads.Team(step, most=2).size == 1 < machine.cores()


# --- Measurements


def measure(w: Workload, cores: list[int], repeats: int) -> dict[int, float]:
    """Milliseconds of an epoch for each number of threads, in turn; the losses must be equal."""
    rng = np.random.RandomState(SEED)
    X, y = w.data()
    output = graph.mlp(w.n_features, [("relu", width) for width in w.hidden], w.n_outputs)
    network = Network(output)
    params = network.pack(*w.initial_parameters(rng))
    order = next(w.orders(rng, np.arange(w.n_samples)))
    loss = "sigmoid_cross_entropy" if w.n_outputs == 1 else "softmax_cross_entropy"
    trainers, losses = {}, {}
    for n in cores:
        with limited(n):
            trainers[n] = Session(network, params, X, y, loss=loss, batch_size=w.batch_size)
        losses[n] = trainers[n].epoch(order, w.learning_rate)
    if len(set(losses.values())) > 1:
        raise RuntimeError(f"unequal work: {losses}")
    times: dict[int, list[float]] = {n: [] for n in cores}
    for _ in range(repeats):
        for n, trainer in trainers.items():
            start = time.perf_counter()
            trainer.epoch(order, w.learning_rate)
            times[n].append(1e3 * (time.perf_counter() - start))
    return {n: min(values) for n, values in times.items()}


@contextmanager
def limited(n: int) -> Iterator[None]:
    """Let teams have `n` threads, also for steps so small that they would try one."""
    before = threads.thread_limit, threads._SMALL_STEP
    threads.thread_limit, threads._SMALL_STEP = (lambda: n), 0
    try:
        yield
    finally:
        threads.thread_limit, threads._SMALL_STEP = before


@kernel(entry=True)
def meet(tid, n, times, sync):
    """Meet `times` times."""
    for k in range(times):
        barrier(sync, tid, n, k + 1)
    return 0


@kernel(entry=True)
def write_and_read(tid, n, times, whose, data, sync):
    """Write one's own row of `data`, then read that of the thread `whose` further on."""
    total = 0.0
    theirs = (tid + whose) % n
    for k in range(times):
        for i in range(data.shape[1]):
            data[tid, i] = k
        barrier(sync, tid, n, 2 * k + 1)
        for i in range(0, data.shape[1], 8):  # one number a line
            total += data[theirs, i]
        barrier(sync, tid, n, 2 * k + 2)
    return int(total)


def seconds(function, *args) -> float:
    team = threads.Team(LARGE, most=2)
    team.run(function, args, LARGE)
    start = time.perf_counter()
    team.run(function, args, LARGE)
    return time.perf_counter() - start


def barrier_us(repeats: int) -> float:
    """Microseconds of a meeting of two threads."""
    times = 20_000
    return 1e6 * min(seconds(meet, times) for _ in range(repeats)) / times


def line_ns(repeats: int) -> float:
    """Nanoseconds that a cache line takes longer if another core has written it."""
    times, data = 100, np.zeros((2, 32 * 1024))  # 256 KiB a thread: from second-level cache
    pairs = [
        [seconds(write_and_read, times, whose, data) for whose in (0, 1)]
        for _ in range(5 * repeats)
    ]
    own, other = (min(column) for column in zip(*pairs, strict=True))
    return 1e9 * max(0.0, other - own) / (times * data.shape[1] / 8)


if __name__ == "__main__":
    main()
