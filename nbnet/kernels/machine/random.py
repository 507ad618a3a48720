"""Random bits of a counter: what is drawn depends on nothing but the place it is drawn for.

A generator with a state would have to hand it on from number to number, and so what one thread
draws would depend on what another has drawn. Here a number is a function of seed, step, node, row
and column: the same for any number of threads, any split of a batch and any width of vectors.

The function is a permutation of 32 bits, twice a shift and a multiplication (constants by
TheIronBorn, 2018, found with Wellons's "hash-prospector"), with a key before and one in the middle.
Here all is done with 64-bit integers below 2 ** 63, so that Python needs no other arithmetic. LLVM
does not see that the upper halves are zero, and a vector would hold half as many numbers. So what
draws a number for each activation, `drop`, is LLVM code for 32 bits.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import kernel, machine_code
from nbnet.kernels.machine.vectors import I32, I64, address_of, broadcast, lanes, vector_of

__all__ = ["bits", "drop", "keys"]

_ALL = 0xFFFFFFFF
_FACTORS = 0x21F0AAAD, 0x735A2D97
_SHIFTS = 16, 15, 15


@kernel
def bits(counter, first_key, second_key):
    """32 random bits, as an integer in [0, 2 ** 32), of three numbers of 32 bits."""
    x = counter ^ first_key
    x ^= x >> _SHIFTS[0]
    x = (x * _FACTORS[0]) & _ALL
    x ^= second_key
    x ^= x >> _SHIFTS[1]
    x = (x * _FACTORS[1]) & _ALL
    return x ^ (x >> _SHIFTS[2])


@kernel
def keys(seed, step, node):
    """Two keys for `bits` of a seed in [0, 2 ** 62), a step and a node."""
    low, high = seed & _ALL, seed >> 32
    of_step = bits(step & _ALL, low, high)
    return bits(node, of_step, low), bits(node, high, of_step)


def _drop_twin(x, at, to, to_at, n, counter, width, first_key, second_key, dropped, scale):
    v = lanes(x.dtype)
    counters = counter + width * np.arange(n)[:, None] + np.arange(v)
    drawn = bits(counters & _ALL, first_key, second_key).ravel()
    to[to_at : to_at + n * v] = np.where(drawn < dropped, 0, scale * x[at : at + n * v])


@machine_code(_drop_twin)
def drop(typingctx, x, at, to, to_at, n, counter, width, first_key, second_key, dropped, scale):
    """Write `n` rows of V numbers times `scale`, or 0 where the bits drawn are below `dropped`.

    Parameters
    ----------
    x, at : the rows, one behind the other, and where they begin
    to, to_at : where to write them
    n : int
    counter, width : int
        The counter of the first number; it grows by 1 from column to column, by `width` from row
        to row.
    first_key, second_key, dropped : int
        In [0, 2 ** 32).
    scale : float, of the dtype of `x`
    """

    def codegen(context, builder, signature, args):
        vector, v, size = vector_of(signature.args[0].dtype)
        integers = ir.VectorType(I32, v)

        def all_lanes(number):
            return broadcast(builder, builder.trunc(number, I32), integers)

        def constant(number):
            return ir.Constant(integers, [number] * v)

        def place(i, at):
            data = address_of(context, builder, signature.args[i], args[i])
            return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())

        keys = [all_lanes(args[7]), all_lanes(args[8])]
        below, scale = all_lanes(args[9]), broadcast(builder, args[10], vector)
        columns = ir.Constant(integers, list(range(v)))
        with cgutils.for_range(builder, args[4], intp=I64) as loop:
            counter = builder.add(args[5], builder.mul(loop.index, args[6]))
            drawn = builder.add(all_lanes(counter), columns)
            for k, shift in enumerate(_SHIFTS):
                if k < len(keys):
                    drawn = builder.xor(drawn, keys[k])
                drawn = builder.xor(drawn, builder.lshr(drawn, constant(shift)))
                if k < len(_FACTORS):
                    drawn = builder.mul(drawn, constant(_FACTORS[k]))
            row = builder.mul(loop.index, ir.Constant(I64, v))
            number = builder.load(place(0, builder.add(args[1], row)), align=size)
            number = builder.select(
                builder.icmp_unsigned("<", drawn, below),
                ir.Constant(vector, [0.0] * v),
                builder.fmul(scale, number),
            )
            builder.store(number, place(2, builder.add(args[3], row)), align=size)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, to, i64, i64, i64, i64, i64, i64, i64, x.dtype), codegen
