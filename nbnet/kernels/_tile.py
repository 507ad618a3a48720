"""The only machine-level code of nbnet: a tile of a matrix product, small copies, and waiting.

Everything else in `nbnet.kernels` is loops that numba compiles by itself. Here LLVM instructions
are emitted by hand, because no compiler finds this shape from loops. Each piece has a Python twin
directly above it that says what it computes.

a. *Panels.* A matrix of r rows and c columns is stored as panels of ``V`` columns, V being the
   numbers that fit one vector register. A panel is r x V contiguous numbers, so element (i, j)
   lies at ``(j // V) * panel + i * V + j % V``. Activations, their gradients, weights and the
   transposed weights all look like this; nothing is ever packed or gathered inside a product.
b. *Tile.* ``ROWS`` x (1 to 3 panels) of the result stay in registers while the product runs over
   the common dimension: broadcast one number of A, multiply with V numbers of B, add. Two vector
   loads of B feed ``2 * ROWS`` fused multiply-adds.
c. *Shapes.* 32 registers of 64 bytes (AVX-512): 8 x 3 accumulators. 16 registers of 32 bytes
   (AVX2): 4 x 3. Other machines use the AVX2 shape, which LLVM splits into what they have; on
   NEON it becomes 4 x 6 registers of 16 bytes out of 32.
d. *Depth* is walked in groups of ``DEPTH`` numbers, so buffers are padded to a multiple of it, with
   zeros on at least one side of the product.
e. The accumulators start from ``start``: a bias row (row stride 0), a block of zeros, or the
   result so far. One mechanism serves "plus bias", "overwrite" and "accumulate".
"""

from __future__ import annotations

import sys
from contextlib import contextmanager

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils

from nbnet.kernels.compile.jit import machine_code

__all__ = [
    "DEPTH",
    "MAX_PANELS",
    "ROWS",
    "atomic_load",
    "atomic_store",
    "copy_row",
    "gather_rows",
    "lanes",
    "outer_rows",
    "pause",
    "prefetch",
    "product_1",
    "product_2",
    "product_3",
    "row_dots",
    "row_product_1",
    "row_product_2",
    "row_product_3",
    "run",
    "scatter_rows",
    "transpose_block",
    "transposed_product_1",
    "transposed_product_2",
    "transposed_product_3",
    "weighted_rows_1",
    "weighted_rows_2",
    "weighted_rows_3",
    "weighted_rows_4",
    "yield_core",
]


def _has_avx512():
    if config.CPU_NAME not in (None, binding.get_host_cpu_name()):
        return False
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(config.ENABLE_AVX) and binding.get_host_cpu_features().get("avx512f", False)


VECTOR_BYTES, ROWS = (64, 8) if _has_avx512() else (32, 4)
MAX_PANELS = 3
DEPTH = 4


def lanes(dtype):
    """Numbers of `dtype` in one vector: the width V of a panel."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def _vector_of(dtype):
    """LLVM's vector type for a numba dtype, its width V, and the bytes of one number."""
    number = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    size = dtype.bitwidth // 8
    v = VECTOR_BYTES // size
    return ir.VectorType(number, v), v, size


def _data(context, builder, array_type, array):
    """Address of the first number of an array."""
    field = context.data_model_manager[array_type].get_field_position("data")
    return builder.extract_value(array, field)


def _broadcast(builder, number, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def _product_twin(transposed, n_panels, rows=ROWS):
    def product(
        a, a_at, a_panel, b, b_at, b_panel, depth, c, c_at, c_panel, start, s_at, s_row, s_panel
    ):
        v = lanes(c.dtype)
        i = np.arange(rows)[:, None]
        k = np.arange(depth * DEPTH)[None, :]
        j = np.arange(v)[None, :]
        if transposed:
            left = a[a_at + k * v + i]
        else:
            left = a[a_at + (k // v) * a_panel + i * v + k % v]
        for p in range(n_panels):
            right = b[b_at + p * b_panel + k.T * v + j]
            first = start[s_at + p * s_panel + i * s_row + j]
            c[c_at + p * c_panel + i * v + j] = first + left @ right

    return product


def _product(transposed, n_panels, rows=ROWS):
    """Tile of ``C = start + A @ B``, or of ``C = start + A.T @ B`` if `transposed`.

    The result has `rows` rows and ``n_panels * V`` columns. All ``*_at`` are offsets of the
    tile's first element in its flat array, all ``*_panel`` distances between panels; `depth`
    counts groups of ``DEPTH``. Transposed, the tile's rows are neighbouring columns of A within
    one panel.
    """

    @machine_code(_product_twin(transposed, n_panels, rows))
    def product(
        typingctx,
        a,
        a_at,
        a_panel,
        b,
        b_at,
        b_panel,
        depth,
        c,
        c_at,
        c_panel,
        start,
        s_at,
        s_row,
        s_panel,
    ):
        i64 = types.int64
        signature = types.void(a, i64, i64, b, i64, i64, i64, c, i64, i64, start, i64, i64, i64)

        def codegen(context, builder, signature, args):
            dtype = signature.args[7].dtype
            name = f"nbnet_product_{'t' if transposed else 'n'}{rows}x{n_panels}_{dtype}"
            function = builder.module.globals.get(name)
            if function is None:
                function = _emit_product(builder.module, name, dtype, transposed, n_panels, rows)
            values = []
            for value, numba_type in zip(args, signature.args, strict=True):
                if isinstance(numba_type, types.Array):
                    value = _data(context, builder, numba_type, value)
                values.append(value)
            # Pointers first moved to the tile's first element: the function takes no offsets.
            pa, a_at, a_panel, pb, b_at, b_panel, depth, pc, c_at, c_panel, ps, s_at, s_row, s_p = (
                values
            )
            builder.call(
                function,
                [
                    builder.gep(pa, [a_at]),
                    a_panel,
                    builder.gep(pb, [b_at]),
                    b_panel,
                    depth,
                    builder.gep(pc, [c_at]),
                    c_panel,
                    builder.gep(ps, [s_at]),
                    s_row,
                    s_p,
                ],
            )
            return context.get_dummy_value()

        return signature, codegen

    return product


def _emit_product(module, name, dtype, transposed, n_panels, rows):
    vector, v, size = _vector_of(dtype)
    pointer = vector.element.as_pointer()
    function = ir.Function(
        module,
        ir.FunctionType(
            ir.VoidType(),
            [pointer, _I64, pointer, _I64, _I64, pointer, _I64, pointer, _I64, _I64],
        ),
        name,
    )
    function.linkage = "linkonce_odr"  # one copy, however many kernels use it
    function.attributes.add("noinline")
    a, a_panel, b, b_panel, depth, c, c_panel, start, s_row, s_panel = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    fma = cgutils.get_or_insert_function(
        module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fma.v{v}{'f32' if size == 4 else 'f64'}",
    )

    def const(value):
        return ir.Constant(_I64, value)

    def load(at):
        return builder.load(builder.bitcast(at, vector.as_pointer()), align=size)

    tile = [(i, p) for i in range(rows) for p in range(n_panels)]
    first = {
        (i, p): load(
            builder.gep(
                start,
                [builder.add(builder.mul(s_row, const(i)), builder.mul(s_panel, const(p)))],
            )
        )
        for i, p in tile
    }
    b_columns = [builder.gep(b, [builder.mul(b_panel, const(p))]) for p in range(n_panels)]

    entry = builder.block
    loop = builder.append_basic_block("depth")
    done = builder.append_basic_block("store")
    builder.branch(loop)
    builder.position_at_end(loop)
    group = builder.phi(_I64)
    group.add_incoming(const(0), entry)
    sums = {}
    for at in tile:
        sums[at] = builder.phi(vector)
        sums[at].add_incoming(first[at], entry)
    if transposed:
        a_group = builder.gep(a, [builder.mul(group, const(DEPTH * v))])
    else:
        k = builder.mul(group, const(DEPTH))
        panel = builder.mul(builder.udiv(k, const(v)), a_panel)
        a_group = builder.gep(a, [builder.add(panel, builder.urem(k, const(v)))])
    current = dict(sums)
    for u in range(DEPTH):
        step = builder.add(builder.mul(group, const(DEPTH * v)), const(u * v))
        b_row = [load(builder.gep(column, [step])) for column in b_columns]
        for i in range(rows):
            a_at = const(u * v + i) if transposed else const(i * v + u)
            a_number = _broadcast(builder, builder.load(builder.gep(a_group, [a_at])), vector)
            for p in range(n_panels):
                current[i, p] = builder.call(fma, [a_number, b_row[p], current[i, p]])
    following = builder.add(group, const(1))
    group.add_incoming(following, loop)
    for at in tile:
        sums[at].add_incoming(current[at], loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)

    builder.position_at_end(done)
    for i, p in tile:
        at = builder.gep(c, [builder.add(builder.mul(c_panel, const(p)), const(i * v))])
        builder.store(current[i, p], builder.bitcast(at, vector.as_pointer()), align=size)
    builder.ret_void()
    return function


product_1, product_2, product_3 = (_product(False, n) for n in (1, 2, 3))
transposed_product_1, transposed_product_2, transposed_product_3 = (
    _product(True, n) for n in (1, 2, 3)
)
# One row of A B, for batches of one row.
row_product_1, row_product_2, row_product_3 = (_product(False, n, rows=1) for n in (1, 2, 3))
# One row of A^T B: the rows of B weighted by a column of A and added up.
weighted_rows_1, weighted_rows_2, weighted_rows_3, weighted_rows_4 = (
    _product(True, n, rows=1) for n in (1, 2, 3, 4)
)


def _row_dots_twin(a, a_at, a_panel, b, b_at, b_panel, panels, c, c_at, c_row, start, s_at, s_row):
    v = lanes(c.dtype)
    lane = np.arange(v)
    for i in range(ROWS):
        total = start[s_at + i * s_row]
        for p in range(panels):
            left = a[a_at + p * a_panel + i * v + lane]
            total += left @ b[b_at + p * b_panel + lane]
        c[c_at + i * c_row] = total


@machine_code(_row_dots_twin)
def row_dots(
    typingctx, a, a_at, a_panel, b, b_at, b_panel, panels, c, c_at, c_row, start, s_at, s_row
):
    """``c = start + A b`` for ``ROWS`` rows of A and one vector b.

    Lanes run over the common dimension and are added up at the end, so that a result of one column
    does not leave V - 1 lanes idle. V numbers of b lie at ``b_at + p * b_panel`` for panel p of A,
    those of c and `start` are `c_row` and `s_row` apart.
    """
    i64 = types.int64
    signature = types.void(a, i64, i64, b, i64, i64, i64, c, i64, i64, start, i64, i64)

    def codegen(context, builder, signature, args):
        vector, v, size = _vector_of(signature.args[7].dtype)
        a, b, c, start = (
            _data(context, builder, signature.args[i], args[i]) for i in (0, 3, 7, 10)
        )
        _, a_at, a_panel, _, b_at, b_panel, panels, _, c_at, c_row, _, s_at, s_row = args
        suffix = f"v{v}{'f32' if size == 4 else 'f64'}"
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.{suffix}"
        )
        add_up = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector.element, [vector.element, vector]),
            f"llvm.vector.reduce.fadd.{suffix}",
        )

        def load(pointer, at):
            address = builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())
            return builder.load(address, align=size)

        zero = ir.Constant(vector, [0.0] * v)
        sums = [cgutils.alloca_once(builder, vector) for _ in range(ROWS)]
        for i in range(ROWS):
            builder.store(zero, sums[i])
        with cgutils.for_range(builder, panels) as loop:
            a_row = builder.add(a_at, builder.mul(loop.index, a_panel))
            weights = load(b, builder.add(b_at, builder.mul(loop.index, b_panel)))
            for i in range(ROWS):
                row = load(a, builder.add(a_row, ir.Constant(_I64, i * v)))
                builder.store(builder.call(fma, [row, weights, builder.load(sums[i])]), sums[i])
        for i in range(ROWS):
            s_i, c_i = (
                builder.add(at, builder.mul(row, ir.Constant(_I64, i)))
                for at, row in ((s_at, s_row), (c_at, c_row))
            )
            first = builder.load(builder.gep(start, [s_i]))
            # The order in which lanes are added is free: LLVM takes the quickest.
            total = builder.call(add_up, [first, builder.load(sums[i])], fastmath=("reassoc",))
            builder.store(total, builder.gep(c, [c_i]))
        return context.get_dummy_value()

    return signature, codegen


def _outer_twin(x, x_at, d, d_at, g, g_at):
    v = lanes(g.dtype)
    g[g_at : g_at + ROWS * v] = np.outer(x[x_at : x_at + ROWS], d[d_at : d_at + v]).ravel()


@machine_code(_outer_twin)
def outer_rows(typingctx, x, x_at, d, d_at, g, g_at):
    """``G = x d^T`` for ``ROWS`` numbers of x and V of d: a tile of the gradient of one row."""
    i64 = types.int64

    def codegen(context, builder, signature, args):
        vector, v, size = _vector_of(signature.args[4].dtype)
        x, d, g = (_data(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, x_at, _, d_at, _, g_at = args

        def vector_at(pointer, at):
            return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())

        right = builder.load(vector_at(d, d_at), align=size)
        for i in range(ROWS):
            number = builder.load(builder.gep(x, [builder.add(x_at, ir.Constant(_I64, i))]))
            product = builder.fmul(_broadcast(builder, number, vector), right)
            to = vector_at(g, builder.add(g_at, ir.Constant(_I64, i * v)))
            builder.store(product, to, align=size)
        return context.get_dummy_value()

    return types.void(x, i64, d, i64, g, i64), codegen


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
        self.vector, self.v, self.size = _vector_of(signature.args[6].dtype)

    def _data(self, i):
        return _data(self.context, self.builder, self.signature.args[i], self.args[i])

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
        return builder.call(function, [_broadcast(builder, number, self.vector), a, b])

    @contextmanager
    def each(self):
        """Loop over the nonzeros: the number, and V times its column."""
        builder, (_, _, begin, end, *_) = self.builder, self.args
        with cgutils.for_range(builder, end, start=begin, intp=_I64) as loop:
            number = builder.load(builder.gep(self._data(0), [loop.index]))
            index = builder.load(builder.gep(self._data(1), [loop.index]))
            yield number, builder.mul(builder.sext(index, _I64), ir.Constant(_I64, self.v))


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
        vector, v, size = _vector_of(signature.args[3].dtype)
        mask = ir.VectorType(ir.IntType(1), v)
        counts = ir.VectorType(_I64, v)
        n = _broadcast(builder, args[2], counts)
        load = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector.as_pointer(), _I32, mask, vector]),
            f"llvm.masked.load.v{v}{'f32' if size == 4 else 'f64'}.p0",
        )
        x, to = (_data(context, builder, signature.args[i], args[i]) for i in (0, 3))
        row = builder.call(
            load,
            [
                builder.bitcast(builder.gep(x, [args[1]]), vector.as_pointer()),
                ir.Constant(_I32, size),
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
        data = _data(context, builder, signature.args[0], args[0])
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32]),
            "llvm.prefetch.p0",
        )
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        read, level_2, of_data = (ir.Constant(_I32, n) for n in (0, 2, 1))
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
        vector, v, size = _vector_of(signature.args[0].dtype)
        a, to = (_data(context, builder, signature.args[i], args[i]) for i in (0, 3))

        def row_of(pointer, first, apart, i):
            at = builder.add(first, builder.mul(apart, ir.Constant(_I64, i)))
            return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())

        rows = [builder.load(row_of(a, args[1], args[2], i), align=size) for i in range(v)]
        b = 1
        while b < v:
            # Lanes 0 to v - 1 of a shuffle mean its first operand, v to 2v - 1 its second.
            upper = [lane if not lane & b else v + lane - b for lane in range(v)]
            lower = [lane + b if not lane & b else v + lane for lane in range(v)]
            masks = [ir.Constant(ir.VectorType(_I32, v), mask) for mask in (upper, lower)]
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
            (builder.gep(_data(context, builder, array, args[0]), [args[1]]), place("data")),
            (args[2], place("nitems")),
            (args[2], [place("shape"), 0]),
        ):
            part = builder.insert_value(part, value, at)
        return part

    return array(array, types.int64, types.int64), codegen


def _load_twin(flags, at):
    return flags[at]


def _element(context, builder, signature, args):
    return builder.gep(_data(context, builder, signature.args[0], args[0]), [args[1]])


@machine_code(_load_twin)
def atomic_load(typingctx, flags, at):
    """``flags[at]``, seen after everything its writer did before storing it."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, signature, args), "acquire", 8)

    return types.int64(flags, types.int64), codegen


def _store_twin(flags, at, value):
    flags[at] = value


@machine_code(_store_twin)
def atomic_store(typingctx, flags, at, value):
    """``flags[at] = value``, seen only after everything done before."""

    def codegen(context, builder, signature, args):
        at = _element(context, builder, signature, args)
        builder.store_atomic(args[2], at, "release", 8)
        return context.get_dummy_value()

    return types.void(flags, types.int64, types.int64), codegen


def _nothing_twin():
    return None


@machine_code(_nothing_twin)
def pause(typingctx):
    """Tell the core that this is a waiting loop."""

    def codegen(context, builder, signature, args):
        if binding.get_default_triple().startswith("x86_64"):
            hint = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            builder.call(hint, [])
        return context.get_dummy_value()

    return types.void(), codegen


@machine_code(_nothing_twin)
def yield_core(typingctx):
    """Offer the core to another thread of the machine."""

    def codegen(context, builder, signature, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_I32, []), name)
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen
