"""Vector registers: how wide they are, and what every emitter of LLVM code needs.

A matrix of r rows and c columns is stored as *panels* of ``V`` columns, V being the numbers that
fit one vector register. A panel is r x V contiguous numbers, so element (i, j) lies at
``(j // V) * panel + i * V + j % V``. Activations, their gradients, weights and the transposed
weights all look like this; nothing is ever packed or gathered inside a product.
"""

import numpy as np
from llvmlite import binding, ir
from numba import config, types

__all__ = [
    "DEPTH",
    "I32",
    "I64",
    "ROWS",
    "VECTOR_BYTES",
    "address_of",
    "broadcast",
    "lanes",
    "vector_of",
]


def _has_avx512():
    if config.CPU_NAME not in (None, binding.get_host_cpu_name()):
        return False
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(config.ENABLE_AVX) and binding.get_host_cpu_features().get("avx512f", False)


VECTOR_BYTES, ROWS = (64, 8) if _has_avx512() else (32, 4)
DEPTH = 4


def lanes(dtype):
    """Numbers of `dtype` in one vector: the width V of a panel."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


I64 = ir.IntType(64)
I32 = ir.IntType(32)


def vector_of(dtype):
    """LLVM's vector type for a numba dtype, its width V, and the bytes of one number."""
    number = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    size = dtype.bitwidth // 8
    v = VECTOR_BYTES // size
    return ir.VectorType(number, v), v, size


def address_of(context, builder, array_type, array):
    """Address of the first number of an array."""
    field = context.data_model_manager[array_type].get_field_position("data")
    return builder.extract_value(array, field)


def broadcast(builder, number, vector):
    """A vector that holds one number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)
