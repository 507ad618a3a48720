"""What this machine can compute at best: fused multiply-adds in registers, and large products.

A core computes fastest where it touches nothing but registers. A loop of fused multiply-adds whose
operands all lie in registers gives that rate. No program can exceed it, so a share of it says how
much is left to gain. One thread measures it for one core, as many threads as cores for the machine.

A product of two large float32 matrices is what libraries tune most. NumPy, PyTorch and JAX multiply
with all cores, where they are installed. A share of the best of them says how near a program comes
to what others reach in practice.

Each number is the best of several tries, because whatever else runs on the machine only slows down.

    python -m benchmarks.peak                          both, in 10⁹ operations a second
    python -m benchmarks.peak --processor avx2         all held to AVX2
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from importlib.util import find_spec
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from benchmarks import machine, program
from benchmarks.systems import PACKAGES
from benchmarks.worker import Worker

# Bytes of a vector and number of accumulators. A fused multiply-add takes about four cycles and a
# core starts up to four a cycle, so many must be under way; too many do not fit the registers.
# All shapes are tried and the fastest counts: no list of processors is needed.
SHAPES = [(size, count) for size in (16, 32, 64) for count in (12, 24)]
DTYPES = ("float32", "float64")
# Each number becomes 0.5 · number + 1: it stays near 2, far from infinity and from zero.
FACTOR, SUMMAND = 0.5, 1.0
# A try is so short that now and then nothing else runs meanwhile.
SECONDS, TRIES = 0.02, 20
LIBRARIES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
SIZES, PRODUCT_TRIES = [1024, 2048, 4096], 6  # rows and columns of the matrices


def measure(environment: dict[str, str], quick: bool = False) -> dict[str, Any]:
    """Return both kinds of rates, in 10⁹ operations a second, each library in its own process.

    "registers": by dtype, then by number of threads, one or as many as cores (as text, for JSON).
    "products": by library.
    """
    tries, sizes = (1, [512]) if quick else (TRIES, SIZES)
    registers: dict[str, dict[str, float]] = {dtype: {} for dtype in DTYPES}
    with Worker(**environment) as worker:
        worker.load("benchmarks.peak:Registers")
        for dtype, rates in registers.items():
            for n in sorted({1, machine.cores()}):
                answer = worker.ask("gflops", dtype=dtype, threads=n, tries=tries)
                rates[str(n)] = answer["result"]
    products = {}
    for library in filter(find_spec, LIBRARIES):
        with Worker(**environment) as worker:
            worker.load("benchmarks.peak:Products", library=library)
            products[library] = worker.ask("gflops", sizes=sizes)["result"]
    return {"registers": registers, "products": products}


def higher(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the higher of each two rates of two measurements: the machine was busy in one."""
    return {
        key: higher(rate, other[key]) if isinstance(rate, dict) else max(rate, other[key])
        for key, rate in one.items()
    }


def show(rates: dict[str, Any]) -> None:
    """Print a line for each rate."""
    print("\nthe best of this machine, GF/s")
    for dtype, by_threads in rates["registers"].items():
        for threads, rate in by_threads.items():
            print(f"{f'registers, {dtype}, threads: {threads}':36}{rate:8.0f}")
    for library, rate in rates["products"].items():
        print(f"{f'product, float32, {LIBRARIES[library]}':36}{rate:8.0f}")


# --- Registers


def multiply_add(size: int, count: int) -> Callable[[int, float, float, float], float]:
    """Compile the loop of one shape.

    The function takes the number of rounds, the start, the factor and the summand, the last three
    of one dtype. Accumulator k begins with start + k in all lanes, or LLVM would see that all are
    the same and keep one. Returned is the sum over accumulators and lanes, so that none is unused.
    """

    @intrinsic
    def loop(typing, rounds, start, factor, summand):
        def generate(context, builder, signature, arguments):
            rounds, start, factor, summand = arguments
            number = start.type
            lanes = size // (signature.return_type.bitwidth // 8)
            vector = ir.VectorType(number, lanes)
            name = f"v{lanes}f{signature.return_type.bitwidth}"
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.{name}"
            )

            def in_all_lanes(value):
                filled = ir.Constant(vector, ir.Undefined)
                for lane in range(lanes):
                    filled = builder.insert_element(filled, value, ir.IntType(32)(lane))
                return filled

            factors, summands = in_all_lanes(factor), in_all_lanes(summand)
            starts = [
                in_all_lanes(builder.fadd(start, ir.Constant(number, float(k))))
                for k in range(count)
            ]
            before = builder.block
            body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
            builder.branch(body)
            builder.position_at_end(body)
            k = builder.phi(rounds.type)
            k.add_incoming(rounds.type(0), before)
            sums = []
            for first in starts:
                held = builder.phi(vector)
                held.add_incoming(first, before)
                sums.append(held)
            after = [builder.call(fma, [held, factors, summands]) for held in sums]
            following = builder.add(k, rounds.type(1))
            k.add_incoming(following, body)
            for held, value in zip(sums, after, strict=True):
                held.add_incoming(value, body)
            builder.cbranch(builder.icmp_signed("<", following, rounds), body, done)
            builder.position_at_end(done)
            total = ir.Constant(number, 0.0)
            for value in after:
                for lane in range(lanes):
                    element = builder.extract_element(value, ir.IntType(32)(lane))
                    total = builder.fadd(total, element)
            return total

        return start(types.int64, start, factor, summand), generate

    @njit(nogil=True)
    def function(rounds, start, factor, summand):
        return loop(rounds, start, factor, summand)

    return function


def operations(size: int, count: int, dtype: str) -> int:
    """Multiplications and additions of one round."""
    return 2 * count * (size // np.dtype(dtype).itemsize)


class Registers:
    """The loops of all shapes; lives in a worker."""

    def __init__(self) -> None:
        self.loops = {shape: multiply_add(*shape) for shape in SHAPES}

    def gflops(self, dtype: str, threads: int, tries: int) -> float:
        """Best rate of `threads` threads together, in 10⁹ operations a second."""
        numbers = [np.dtype(dtype).type(value) for value in (0.0, FACTOR, SUMMAND)]
        with ThreadPoolExecutor(threads) as pool:

            def rate(shape: tuple[int, int], rounds: int) -> float:
                begin = time.perf_counter()
                list(pool.map(lambda _: self.loops[shape](rounds, *numbers), range(threads)))
                taken = time.perf_counter() - begin
                return threads * rounds * operations(*shape, dtype) / taken / 1e9

            highest = 0.0
            for shape, loop in self.loops.items():
                loop(1, *numbers)  # compiles
                rounds = 10_000
                for _ in range(tries + 1):  # the first tells how many rounds the others take
                    gflops = rate(shape, rounds)
                    highest = max(highest, gflops)
                    rounds = int(SECONDS * gflops * 1e9 / threads / operations(*shape, dtype))
        return highest


# --- Products


class Products:
    """Large float32 products by one library, on all cores; lives in a worker."""

    def __init__(self, library: str):
        self.load: Callable[[np.ndarray], Any] = lambda matrix: matrix
        self.product: Callable[[Any], Any] = lambda matrix: matrix @ matrix
        if library == "torch":
            import torch

            self.load = torch.from_numpy
        elif library == "jax":
            import jax

            self.load = jax.numpy.asarray
            compiled = jax.jit(jax.numpy.matmul)
            self.product = lambda matrix: compiled(matrix, matrix).block_until_ready()

    def gflops(self, sizes: list[int]) -> float:
        """Best rate of a square product, in 10⁹ operations a second."""
        highest = 0.0
        for size in sizes:
            numbers = np.random.default_rng(0).standard_normal((size, size), np.float32)
            matrix = self.load(numbers)
            for _ in range(PRODUCT_TRIES):
                start = time.perf_counter()
                self.product(matrix)
                highest = max(highest, 2 * size**3 / (time.perf_counter() - start) / 1e9)
        return highest


def main() -> int:
    parser = program.parser("benchmarks.peak", __doc__, repeats=3)
    program.add_processor(parser)
    options = parser.parse_args()

    result = program.describe([name for name in LIBRARIES if name in PACKAGES and find_spec(name)])
    result["processor"] = options.processor
    environment = program.PROCESSORS[options.processor]
    repeats = 1 if options.quick else options.repeats
    result["peak"] = reduce(higher, (measure(environment, options.quick) for _ in range(repeats)))
    show(result["peak"])
    program.save(result, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
