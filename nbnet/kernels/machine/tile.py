"""The register tile of a matrix product, over panels (see `vectors`).

LLVM instructions are emitted by hand, because no compiler finds this shape from loops. Each piece
has a Python twin directly above it that says what it computes.

a. *Tile.* ``ROWS`` x (1 to 3 panels) of the result stay in registers while the product runs over
   the common dimension: broadcast one number of A, multiply with V numbers of B, add. Two vector
   loads of B feed ``2 * ROWS`` fused multiply-adds.
b. *Shapes.* 32 registers of 64 bytes (AVX-512): 8 x 3 accumulators. 16 registers of 32 bytes
   (AVX2): 4 x 3. Other machines use the AVX2 shape, which LLVM splits into what they have; on
   NEON it becomes 4 x 6 registers of 16 bytes out of 32.
c. *Depth* is walked in groups of ``DEPTH`` numbers, so buffers are padded to a multiple of it, with
   zeros on at least one side of the product.
d. The accumulators start from ``start``: a bias row (row stride 0), a block of zeros, or the
   result so far. One mechanism serves "plus bias", "overwrite" and "accumulate".
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import machine_code
from nbnet.kernels.machine.vectors import (
    DEPTH,
    I32,
    I64,
    ROWS,
    address_of,
    broadcast,
    lanes,
    vector_of,
)

__all__ = [
    "outer_rows",
    "product_1",
    "product_2",
    "product_3",
    "row_dots",
    "row_product_1",
    "row_product_2",
    "row_product_3",
    "transposed_product_1",
    "transposed_product_2",
    "transposed_product_3",
    "weighted_rows_1",
    "weighted_rows_2",
    "weighted_rows_3",
    "weighted_rows_4",
]


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
                    value = address_of(context, builder, numba_type, value)
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
    vector, v, size = vector_of(dtype)
    pointer = vector.element.as_pointer()
    function = ir.Function(
        module,
        ir.FunctionType(
            ir.VoidType(),
            [pointer, I64, pointer, I64, I64, pointer, I64, pointer, I64, I64],
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
        return ir.Constant(I64, value)

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
    group = builder.phi(I64)
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
            a_number = broadcast(builder, builder.load(builder.gep(a_group, [a_at])), vector)
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


def _sum_of_lanes(builder, vector, v):
    """Add the upper half of the lanes to the lower, until one is left: always in this order."""
    undefined = ir.Constant(vector.type, ir.Undefined)
    while v > 1:
        v //= 2
        halves = [
            builder.shuffle_vector(
                vector, undefined, ir.Constant(ir.VectorType(I32, v), list(range(at, at + v)))
            )
            for at in (0, v)
        ]
        vector = builder.fadd(*halves)
        undefined = ir.Constant(vector.type, ir.Undefined)
    return builder.extract_element(vector, ir.Constant(I32, 0))


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
        vector, v, size = vector_of(signature.args[7].dtype)
        a, b, c, start = (
            address_of(context, builder, signature.args[i], args[i]) for i in (0, 3, 7, 10)
        )
        _, a_at, a_panel, _, b_at, b_panel, panels, _, c_at, c_row, _, s_at, s_row = args
        suffix = f"v{v}{'f32' if size == 4 else 'f64'}"
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.{suffix}"
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
                row = load(a, builder.add(a_row, ir.Constant(I64, i * v)))
                builder.store(builder.call(fma, [row, weights, builder.load(sums[i])]), sums[i])
        for i in range(ROWS):
            s_i, c_i = (
                builder.add(at, builder.mul(row, ir.Constant(I64, i)))
                for at, row in ((s_at, s_row), (c_at, c_row))
            )
            first = builder.load(builder.gep(start, [s_i]))
            total = builder.fadd(first, _sum_of_lanes(builder, builder.load(sums[i]), v))
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
        vector, v, size = vector_of(signature.args[4].dtype)
        x, d, g = (address_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        _, x_at, _, d_at, _, g_at = args

        def vector_at(pointer, at):
            return builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())

        right = builder.load(vector_at(d, d_at), align=size)
        for i in range(ROWS):
            number = builder.load(builder.gep(x, [builder.add(x_at, ir.Constant(I64, i))]))
            product = builder.fmul(broadcast(builder, number, vector), right)
            to = vector_at(g, builder.add(g_at, ir.Constant(I64, i * v)))
            builder.store(product, to, align=size)
        return context.get_dummy_value()

    return types.void(x, i64, d, i64, g, i64), codegen
