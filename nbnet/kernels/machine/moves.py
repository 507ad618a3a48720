"""Small copies, sums of picked rows, and runs of an array, as LLVM code under Python twins."""

from contextlib import contextmanager

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import machine_code
from nbnet.kernels.machine.vectors import I32, I64, address_of, broadcast, lanes, vector_of

__all__ = ["copy_row", "gather_rows", "prefetch", "run", "scatter_rows", "transpose_block"]


def _gather_twin(x, indices, begin, end, w, w_at, z, z_at):
    v = lanes(z.dtype)
    for k in range(begin, end):
        z[z_at : z_at + v] += x[k] * w[w_at + indices[k] * v :][:v]


@machine_code(_gather_twin)
def gather_rows(typingctx, x, indices, begin, end, w, w_at, z, z_at):
    """Add to V numbers of `z` the rows of a panel that a sparse row of X picks and weights.

    Nonzero k of X, ``begin <= k < end``, is ``x[k]`` in column ``indices[k]``.
    """
    i64 = types.int64

    def codegen(context, builder, signature, args):
        nonzeros = _Nonzeros(context, builder, signature, args)
        z_at = nonzeros.vector_at(6, args[7])
        total = cgutils.alloca_once(builder, nonzeros.vector)
        builder.store(nonzeros.load(z_at), total)
        with nonzeros.each() as (number, index):
            row = nonzeros.load(nonzeros.vector_at(4, builder.add(args[5], index)))
            builder.store(nonzeros.fma(number, row, builder.load(total)), total)
        nonzeros.store(builder.load(total), z_at)
        return context.get_dummy_value()

    return types.void(x, indices, i64, i64, w, i64, z, i64), codegen


def _scatter_twin(x, indices, begin, end, d, d_at, g, g_at):
    v = lanes(g.dtype)
    for k in range(begin, end):
        g[g_at + indices[k] * v :][:v] += x[k] * d[d_at : d_at + v]


@machine_code(_scatter_twin)
def scatter_rows(typingctx, x, indices, begin, end, d, d_at, g, g_at):
    """The transpose of `gather_rows`: add V numbers of `d`, weighted, to the rows of a panel."""
    i64 = types.int64

    def codegen(context, builder, signature, args):
        nonzeros = _Nonzeros(context, builder, signature, args)
        d = nonzeros.load(nonzeros.vector_at(4, args[5]))
        with nonzeros.each() as (number, index):
            at = nonzeros.vector_at(6, builder.add(args[7], index))
            nonzeros.store(nonzeros.fma(number, d, nonzeros.load(at)), at)
        return context.get_dummy_value()

    return types.void(x, indices, i64, i64, d, i64, g, i64), codegen


class _Nonzeros:
    """What `gather_rows` and `scatter_rows` emit alike; arguments 0 to 3 are those of both."""

    def __init__(self, context, builder, signature, args):
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.vector, self.v, self.size = vector_of(signature.args[6].dtype)

    def _data(self, i):
        return address_of(self.context, self.builder, self.signature.args[i], self.args[i])

    def vector_at(self, i, at):
        """Address of V numbers of argument `i`."""
        return self.builder.bitcast(self.builder.gep(self._data(i), [at]), self.vector.as_pointer())

    def load(self, at):
        return self.builder.load(at, align=self.size)

    def store(self, value, at):
        self.builder.store(value, at, align=self.size)

    def fma(self, number, a, b):
        """``number * a + b``."""
        builder, name = self.builder, f"llvm.fma.v{self.v}{'f32' if self.size == 4 else 'f64'}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )
        return builder.call(function, [broadcast(builder, number, self.vector), a, b])

    @contextmanager
    def each(self):
        """Loop over the nonzeros: the number, and V times its column."""
        builder, (_, _, begin, end, *_) = self.builder, self.args
        with cgutils.for_range(builder, end, start=begin, intp=I64) as loop:
            number = builder.load(builder.gep(self._data(0), [loop.index]))
            index = builder.load(builder.gep(self._data(1), [loop.index]))
            yield number, builder.mul(builder.sext(index, I64), ir.Constant(I64, self.v))


def _copy_twin(x, x_at, n, to, at):
    v = lanes(to.dtype)
    to[at : at + v] = 0
    to[at : at + min(n, v)] = x[x_at : x_at + min(n, v)]


@machine_code(_copy_twin)
def copy_row(typingctx, x, x_at, n, to, at):
    """``to[at : at + V] = x[x_at : x_at + n]``, filled up with zeros if n < V.

    One masked load and one store, no call and no branch: so that a core can fetch the next rows
    of a shuffled X while it still waits for this one.
    """

    def codegen(context, builder, signature, args):
        vector, v, size = vector_of(signature.args[3].dtype)
        mask = ir.VectorType(ir.IntType(1), v)
        counts = ir.VectorType(I64, v)
        n = broadcast(builder, args[2], counts)
        load = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector.as_pointer(), I32, mask, vector]),
            f"llvm.masked.load.v{v}{'f32' if size == 4 else 'f64'}.p0",
        )
        x, to = (address_of(context, builder, signature.args[i], args[i]) for i in (0, 3))
        row = builder.call(
            load,
            [
                builder.bitcast(builder.gep(x, [args[1]]), vector.as_pointer()),
                ir.Constant(I32, size),
                builder.icmp_signed("<", ir.Constant(counts, list(range(v))), n),
                ir.Constant(vector, [0.0] * v),
            ],
        )
        at = builder.bitcast(builder.gep(to, [args[4]]), vector.as_pointer())
        builder.store(row, at, align=size)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(x, i64, i64, to, i64), codegen


def _prefetch_twin(x, at):
    pass


@machine_code(_prefetch_twin)
def prefetch(typingctx, x, at):
    """Begin to fetch the cache line of ``x[at]``, without waiting for it.

    Into the second-level cache: the first can wait for fewer lines at once, and is soon full.
    """

    def codegen(context, builder, signature, args):
        data = address_of(context, builder, signature.args[0], args[0])
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]),
            "llvm.prefetch.p0",
        )
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        read, level_2, of_data = (ir.Constant(I32, n) for n in (0, 2, 1))
        builder.call(function, [address, read, level_2, of_data])
        return context.get_dummy_value()

    return types.void(x, types.int64), codegen


def _transpose_twin(a, a_at, a_row, to, at, to_row):
    v = lanes(a.dtype)
    i, j = np.arange(v)[:, None], np.arange(v)[None, :]
    to[at + i * to_row + j] = a[a_at + j * a_row + i]


@machine_code(_transpose_twin)
def transpose_block(typingctx, a, a_at, a_row, to, at, to_row):
    """Copy V rows of V numbers, `a_row` apart, transposed: to V rows, `to_row` apart.

    log2(V) rounds over V registers: round b swaps the off-diagonal b x b corners of every
    2b x 2b block, which is two shuffles for a pair of rows.
    """

    def codegen(context, builder, signature, args):
        vector, v, size = vector_of(signature.args[0].dtype)
        a, to = (address_of(context, builder, signature.args[i], args[i]) for i in (0, 3))

        def row_of(pointer, first, apart, i):
            at = builder.add(first, builder.mul(apart, ir.Constant(I64, i)))
            return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())

        rows = [builder.load(row_of(a, args[1], args[2], i), align=size) for i in range(v)]
        b = 1
        while b < v:
            # Lanes 0 to v - 1 of a shuffle mean its first operand, v to 2v - 1 its second.
            upper = [lane if not lane & b else v + lane - b for lane in range(v)]
            lower = [lane + b if not lane & b else v + lane for lane in range(v)]
            masks = [ir.Constant(ir.VectorType(I32, v), mask) for mask in (upper, lower)]
            for i in range(v):
                if not i & b:
                    pair = rows[i], rows[i + b]
                    rows[i], rows[i + b] = (builder.shuffle_vector(*pair, m) for m in masks)
            b *= 2
        for i, row in enumerate(rows):
            builder.store(row, row_of(to, args[4], args[5], i), align=size)
        return context.get_dummy_value()

    i64 = types.int64
    return types.void(a, i64, i64, to, i64, i64), codegen


def _run_twin(array, at, n):
    return array[at : at + n]


@machine_code(_run_twin)
def run(typingctx, array, at, n):
    """The `n` numbers of a flat `array` from `at`, as an array.

    What ``array[at : at + n]`` means, without the code that numba adds to it for negative and
    oversized bounds: kernels take hundreds of slices, and each costs compile time.
    """

    def codegen(context, builder, signature, args):
        place = context.data_model_manager[array].get_field_position
        owner = args[0].type.elements[place("meminfo")]
        part = args[0]
        for value, at in (
            (
                ir.Constant(owner, None),
                place("meminfo"),
            ),  # `array` outlives all that is cut from it
            (builder.gep(address_of(context, builder, array, args[0]), [args[1]]), place("data")),
            (args[2], place("nitems")),
            (args[2], [place("shape"), 0]),
        ):
            part = builder.insert_value(part, value, at)
        return part

    return array(array, types.int64, types.int64), codegen
