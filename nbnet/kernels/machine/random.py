"""Random bits of a counter: what is drawn depends on nothing but the place it is drawn for.

A generator with a state would have to hand it on from number to number, and so what one thread
draws would depend on what another has drawn. Here a number is a function of seed, step, node, row
and column: the same for any number of threads, any split of a batch and any width of vectors.

The function is a permutation of 32 bits, twice a shift and a multiplication (constants by
TheIronBorn, 2018, found with Wellons's "hash-prospector"), with a key before and one in the middle.
All is done with 64-bit integers below 2 ** 63, so that the uncompiled twin needs no other
arithmetic; LLVM sees that the upper halves are zero.
"""

from __future__ import annotations

from nbnet.kernels.compile.jit import kernel

__all__ = ["bits", "keys"]

_ALL = 0xFFFFFFFF


@kernel
def bits(counter, first_key, second_key):
    """32 random bits, as an integer in [0, 2 ** 32), of three numbers of 32 bits."""
    x = counter ^ first_key
    x ^= x >> 16
    x = (x * 0x21F0AAAD) & _ALL
    x ^= second_key
    x ^= x >> 15
    x = (x * 0x735A2D97) & _ALL
    return x ^ (x >> 15)


@kernel
def keys(seed, step, node):
    """Two keys for `bits` of a seed in [0, 2 ** 62), a step and a node."""
    low, high = seed & _ALL, seed >> 32
    of_step = bits(step & _ALL, low, high)
    return bits(node, of_step, low), bits(node, high, of_step)
