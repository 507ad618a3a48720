"""The operations of a graph over a block of rows: each backward directly under its forward.

===========  =============================================  =======================================
name         forward                                        backward, d = gradient at the output
===========  =============================================  =======================================
input        rows of X laid out in panels
dense        Z = X W + b                                    dX = D W^T (dW and db: see `step`)
activation   H = g(Z)                                       dZ = D g'(Z)
maxout       h_i = max over its K pieces z_i1 ... z_iK      d to the piece that won
add          A + B                                          dA = D, dB = D
multiply     A B, elementwise                               dA = D B, dB = D A
concat       one input's columns put beside the others'     dX = its columns of D
===========  =============================================  =======================================

A dense op of few units is ``narrow_dense``, one over a single row, for which weights are not worth
packing, ``row_dense`` (see `matmul`). A CSR matrix X has two ops of its own, ``sparse_input`` and,
reading X without laying it out, ``sparse_dense``. (Goodfellow et al., 2016, sections 6.3.3, 6.5.)

To add an op: its row in ``OPS``, its two functions, its branch in `forward` and `backward`, and its
node in `nbnet.graph`.

a. An op is a row of integers, a node is a row of integers: what to do, and where in one flat
   ``work`` buffer values and gradients of the node lie. Architectures are data, so none needs a
   new compile.
b. A node may feed several others. The plan knows who writes its gradient first; the first
   overwrites, the others add ("sum gradients from different paths").
c. Blocks of rows do not touch each other's numbers, so threads need no locks.
d. Padding columns hold zero, in values and gradients: `activation` restores it where g(0) is not 0.
e. A maxout unit is a dense node, all first pieces in front, then all second pieces ..., and a
   maximum over equally placed panels,
   which is why the engine does not keep the order of ``coefs_``, unit by unit; `nbnet.plan`
   translates.
f. Half of the ops are rarely used, but all must be compiled. Where an argument `general` is None,
   numba drops the branches that ask for it before it compiles: a plain stack of dense layers over
   dense X never pays for the others. (For the same reason a literal number is not handed to a
   kernel that also gets variables there: numba would compile it twice.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbnet.kernels._tile import DEPTH, copy_row, gather_rows, prefetch, run
from nbnet.kernels.activations import activate, multiply_by_slope
from nbnet.kernels.barrier import stopped
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.layout import (
    ACT,
    ADD_0,
    ADD_1,
    BIAS,
    CODE,
    COLUMNS,
    DELTA,
    FIRST,
    FROM_VALUE,
    H_LANES,
    H_PANEL,
    IN_0,
    IN_1,
    INPUTS,
    MIRROR,
    OUT,
    PANELS,
    PIECES,
    RESTORE,
    VALUE,
    WEIGHTS,
    WIDTH,
)
from nbnet.kernels.matmul import add_rows, affine, narrow_affine, row_backward

__all__ = ["OPS", "Op", "backward", "data_row", "forward"]

(
    INPUT,
    SPARSE_INPUT,
    DENSE,
    NARROW_DENSE,
    ROW_DENSE,
    SPARSE_DENSE,
    ACTIVATION,
    MAXOUT,
    ADD,
    MULTIPLY,
    CONCAT,
) = range(11)


PREFETCHED = 4  # cache lines of a row; the rest of a longer one the processor fetches by itself


@dataclass(frozen=True)
class Op:
    """A row of ``OPS``.

    Attributes
    ----------
    name : str
    code : int
        What compiled code calls it.
    inputs : int
        Number of nodes an op of the plan reads.
    plain : bool
        Whether it is compiled for every network, or only where an op that is not is used.
    """

    name: str
    code: int
    inputs: int = 1
    plain: bool = False


OPS = {
    row.name: row
    for row in (
        Op("input", INPUT, inputs=0, plain=True),
        Op("sparse_input", SPARSE_INPUT, inputs=0),
        Op("dense", DENSE, plain=True),
        Op("narrow_dense", NARROW_DENSE, plain=True),
        Op("row_dense", ROW_DENSE, plain=True),
        Op("sparse_dense", SPARSE_DENSE),
        Op("activation", ACTIVATION, plain=True),
        Op("maxout", MAXOUT),
        Op("add", ADD, inputs=2),
        Op("multiply", MULTIPLY, inputs=2),
        Op("concat", CONCAT),
    )
}


@kernel
def _copy(x, to):
    for i in range(x.size):
        to[i] = x[i]


@kernel
def _add(x, to):
    for i in range(x.size):
        to[i] += x[i]


@kernel
def _send(d, to, add):
    """Write the gradient `d` to the slice `to`, or add it."""
    if add == 1:
        _add(d, to)
    else:
        _copy(d, to)


@kernel
def data_row(order, at, last):
    """Row of X at place `at` of the order, -1 past the end; an empty order is the natural one."""
    if at >= last:
        return -1
    return order[at] if order.size > 0 else at


@kernel
def input_forward(op, nodes, work, panel, v, r0, r1, x, order, first, last):
    """Buffer row r holds data row ``order[first + r]``, and zeros past `last`."""
    out = nodes[op[OUT]]
    features = out[WIDTH]
    for r in range(r0, r1):
        row = data_row(order, first + r, last)
        at = out[VALUE] + r * v
        for p in range(out[PANELS]):
            n = features - p * v if row >= 0 else 0
            copy_row(x, max(row, 0) * features + p * v, n, work, at + p * panel)
    # A shuffled row is a wait for memory: those of the next block come while this one is at work.
    begin = min(features, PREFETCHED * v)
    for i in range(first + r1, min(order.size, first + r1 + (r1 - r0))):
        for c in range(0, begin + v - 1, v):
            prefetch(x, order[i] * features + min(c, begin - 1))


@kernel
def sparse_input_forward(op, nodes, work, panel, v, r0, r1, x, indices, indptr, order, first, last):
    out = nodes[op[OUT]]
    for r in range(r0, r1):
        at = out[VALUE] + r * v
        for p in range(out[PANELS]):
            for c in range(v):
                work[at + p * panel + c] = 0
        row = data_row(order, first + r, last)
        if row >= 0:
            for k in range(indptr[row], indptr[row + 1]):
                c = indices[k]
                work[at + (c // v) * panel + c % v] += x[k]


@kernel
def dense_forward(op, nodes, work, panel, v, r0, r1, params):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    affine(
        work, x[VALUE], panel, r0, r1, v, params, op[WEIGHTS], op[INPUTS] * v, out[PANELS],
        (x[WIDTH] + DEPTH - 1) // DEPTH, work, out[VALUE], params, op[BIAS], np.int64(0), v,
    )  # fmt: skip


@kernel
def narrow_dense_forward(op, nodes, work, panel, v, r0, r1, params):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    narrow_affine(
        work, x[VALUE], panel, r0, r1, v, params, op[WEIGHTS], x[PANELS],
        work, out[VALUE], out[WIDTH], params, op[BIAS],
    )  # fmt: skip


@kernel
def row_dense_forward(op, nodes, work, params):
    """One row of Z, the buffers being one row high, from weights as users see them."""
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = out[WIDTH]
    z = run(work, out[VALUE], n)
    _copy(run(params, op[BIAS], n), z)
    add_rows(run(work, x[VALUE], x[WIDTH]), run(params, op[WEIGHTS], x[WIDTH] * n), z)


@kernel
def dense_backward(op, nodes, work, panel, v, r0, r1, params):
    """Of all three dense ops: what is narrow has its weights where others have their mirror."""
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    add = op[ADD_0]  # start from the gradient so far, or from the zeros at the head of `work`
    if op[MIRROR] < 0:  # a batch of one row
        row_backward(
            work, out[DELTA], panel, out[PANELS], v, params, op[WEIGHTS], op[INPUTS],
            work, x[DELTA], add,
        )  # fmt: skip
        return
    affine(
        work, out[DELTA], panel, r0, r1, v, params, op[MIRROR], op[COLUMNS] * v, x[PANELS],
        op[COLUMNS] // DEPTH, work, x[DELTA], work, add * x[DELTA], add * v, add * panel,
    )  # fmt: skip


@kernel
def sparse_dense_forward(
    op, nodes, work, panel, v, r0, r1, params, x, indices, indptr, order, first, last
):
    """A row of Z is the bias plus a sum of rows of W; backward is that of a dense node."""
    out = nodes[op[OUT]]
    for r in range(r0, r1):
        row = data_row(order, first + r, last)
        begin, end = (indptr[row], indptr[row + 1]) if row >= 0 else (0, 0)
        for p in range(out[PANELS]):
            at = out[VALUE] + p * panel + r * v
            copy_row(params, op[BIAS] + p * v, v, work, at)
            gather_rows(x, indices, begin, end, params, op[WEIGHTS] + p * op[INPUTS] * v, work, at)


@kernel
def activation_forward(op, negative_slope, nodes, work, panel, v, r0, r1):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = out[VALUE] + p * panel
        h = run(work, at + r0 * v, n)
        if z[VALUE] != out[VALUE]:
            _copy(run(work, z[VALUE] + p * panel + r0 * v, n), h)
        activate(op[ACT], h, negative_slope)
    used = out[WIDTH] - (out[PANELS] - 1) * v
    if used < v and op[RESTORE] == 1:
        at = out[VALUE] + (out[PANELS] - 1) * panel
        for r in range(r0, r1):
            for c in range(used, v):
                work[at + r * v + c] = 0


@kernel
def activation_backward(op, negative_slope, nodes, work, panel, v, r0, r1, scratch):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    seen = out[VALUE] if op[FROM_VALUE] else z[VALUE]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        d = run(work, out[DELTA] + at, n)
        h = run(work, seen + at, n)
        dz = run(work, z[DELTA] + at, n)
        if z[DELTA] == out[DELTA]:
            multiply_by_slope(op[ACT], d, h, negative_slope)
        else:
            copy = run(scratch, 0, n)
            _copy(d, copy)
            multiply_by_slope(op[ACT], copy, h, negative_slope)
            _send(copy, dz, op[ADD_0])


@kernel
def maxout_forward(op, nodes, work, panel, v, r0, r1):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        h = run(work, out[VALUE] + at, n)
        for k in range(op[PIECES]):
            piece = run(work, z[VALUE] + k * out[PANELS] * panel + at, n)
            if k == 0:
                _copy(piece, h)
            else:
                for i in range(h.size):  # written so that NaN wins
                    keep = piece[i] <= h[i] or h[i] != h[i]
                    h[i] = h[i] if keep else piece[i]


@kernel
def maxout_backward(op, nodes, work, panel, v, r0, r1, scratch):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        h = run(work, out[VALUE] + at, n)
        left = run(scratch, 0, n)  # what no piece has claimed yet: of equal pieces the first wins
        _copy(run(work, out[DELTA] + at, n), left)
        for k in range(op[PIECES]):
            shift = k * out[PANELS] * panel
            piece = run(work, z[VALUE] + shift + at, n)
            dz = run(work, z[DELTA] + shift + at, n)
            zero = dz.dtype.type(0)
            for i in range(h.size):  # a loop that writes two arrays would not be vectorised
                dz[i] = left[i] if piece[i] == h[i] else zero
            for i in range(h.size):
                left[i] = zero if piece[i] == h[i] else left[i]


@kernel
def add_forward(op, nodes, work, panel, v, r0, r1):
    first, second, out = nodes[op[IN_0]], nodes[op[IN_1]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        h = run(work, out[VALUE] + at, n)
        _copy(run(work, first[VALUE] + at, n), h)
        _add(run(work, second[VALUE] + at, n), h)


@kernel
def add_backward(op, nodes, work, panel, v, r0, r1):
    out = nodes[op[OUT]]
    n = (r1 - r0) * v
    for side in range(2):
        to = nodes[op[IN_0 + side]][DELTA]
        if op[ADD_0 + side] >= 0:
            for p in range(out[PANELS]):
                at = p * panel + r0 * v
                d = run(work, out[DELTA] + at, n)
                _send(d, run(work, to + at, n), op[ADD_0 + side])


@kernel
def multiply_forward(op, nodes, work, panel, v, r0, r1):
    first, second, out = nodes[op[IN_0]], nodes[op[IN_1]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        h = run(work, out[VALUE] + at, n)
        x = run(work, first[VALUE] + at, n)
        y = run(work, second[VALUE] + at, n)
        for i in range(h.size):
            h[i] = x[i] * y[i]


@kernel
def multiply_backward(op, nodes, work, panel, v, r0, r1, scratch):
    out = nodes[op[OUT]]
    n = (r1 - r0) * v
    for side in range(2):
        to = nodes[op[IN_0 + side]][DELTA]
        other = nodes[op[IN_1 - side]][VALUE]
        if op[ADD_0 + side] >= 0:
            for p in range(out[PANELS]):
                at = p * panel + r0 * v
                d = run(work, out[DELTA] + at, n)
                y = run(work, other + at, n)
                product = run(scratch, 0, n)
                for i in range(d.size):
                    product[i] = d[i] * y[i]
                _send(product, run(work, to + at, n), op[ADD_0 + side])


@kernel
def concat_forward(op, nodes, work, panel, v, r0, r1):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for c in range(x[WIDTH]):
        of = x[VALUE] + (c // v) * panel + c % v
        c_out = op[FIRST] + c
        to = out[VALUE] + (c_out // v) * panel + c_out % v
        for r in range(r0, r1):
            work[to + r * v] = work[of + r * v]


@kernel
def concat_backward(op, nodes, work, panel, v, r0, r1):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for c in range(x[WIDTH]):
        to = x[DELTA] + (c // v) * panel + c % v
        c_out = op[FIRST] + c
        of = out[DELTA] + (c_out // v) * panel + c_out % v
        for r in range(r0, r1):
            d = work[of + r * v]
            work[to + r * v] = work[to + r * v] + d if op[ADD_0] == 1 else d


@kernel
def forward(
    ops, slopes, head, nodes, work, r0, r1,
    params, x, indices, indptr, order, first, last, sync, general, forward_only,
):  # fmt: skip
    """Values of all nodes for buffer rows `r0` to `r1`; cut short by the stop flag.

    Parameters
    ----------
    ops : (ops, len(OP_COLUMNS))
    slopes : (ops,) negative slope of each op's activation
    head : (len(HEAD),)
    nodes : (nodes, len(NODE_COLUMNS))
    work : flat values and gradients of all nodes
    r0, r1 : int
        Multiples of the tile's rows.
    params : engine layout, the transposed weights behind it
    x, indices, indptr : X, flat, or CSR
    order, first, last : buffer row r holds row ``order[first + r]`` of X, up to ``order[last]``
    sync : the threads' flags, see `barrier`
    general : None or 1
        None where all ops are plain (see ``Op.plain``).
    forward_only : None or 1
        None where training, which has no use for the ops of a single row.
    """
    v, panel = head[H_LANES], head[H_PANEL]
    for k in range(ops.shape[0]):
        if stopped(sync):
            return
        op = ops[k]
        code = op[CODE]
        if code == INPUT:
            input_forward(op, nodes, work, panel, v, r0, r1, x, order, first, last)
        elif code == DENSE:
            dense_forward(op, nodes, work, panel, v, r0, r1, params)
        elif code == NARROW_DENSE:
            narrow_dense_forward(op, nodes, work, panel, v, r0, r1, params)
        elif code == ACTIVATION:
            activation_forward(op, slopes[k], nodes, work, panel, v, r0, r1)
        elif forward_only is not None and code == ROW_DENSE:
            row_dense_forward(op, nodes, work, params)
        elif general is not None:
            if code == SPARSE_INPUT:
                sparse_input_forward(
                    op, nodes, work, panel, v, r0, r1, x, indices, indptr, order, first, last
                )
            elif code == SPARSE_DENSE:
                sparse_dense_forward(
                    op, nodes, work, panel, v, r0, r1,
                    params, x, indices, indptr, order, first, last,
                )  # fmt: skip
            elif code == MAXOUT:
                maxout_forward(op, nodes, work, panel, v, r0, r1)
            elif code == ADD:
                add_forward(op, nodes, work, panel, v, r0, r1)
            elif code == MULTIPLY:
                multiply_forward(op, nodes, work, panel, v, r0, r1)
            elif code == CONCAT:
                concat_forward(op, nodes, work, panel, v, r0, r1)


@kernel
def backward(ops, slopes, head, nodes, work, r0, r1, params, scratch, sync, general):
    """Gradients at all nodes from that at the output; parameters as `forward`.

    `scratch` is room for a panel of this block of rows.
    """
    v, panel = head[H_LANES], head[H_PANEL]
    for k in range(ops.shape[0] - 1, -1, -1):
        if stopped(sync):
            return
        op = ops[k]
        code = op[CODE]
        if op[ADD_0] < 0 and op[ADD_1] < 0:
            continue  # nobody wants a gradient below
        if code in (DENSE, NARROW_DENSE, SPARSE_DENSE):
            dense_backward(op, nodes, work, panel, v, r0, r1, params)
        elif code == ACTIVATION:
            activation_backward(op, slopes[k], nodes, work, panel, v, r0, r1, scratch)
        elif general is not None:
            if code == MAXOUT:
                maxout_backward(op, nodes, work, panel, v, r0, r1, scratch)
            elif code == ADD:
                add_backward(op, nodes, work, panel, v, r0, r1)
            elif code == MULTIPLY:
                multiply_backward(op, nodes, work, panel, v, r0, r1, scratch)
            elif code == CONCAT:
                concat_backward(op, nodes, work, panel, v, r0, r1)
