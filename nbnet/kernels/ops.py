"""The operations of a graph over a block of rows: each backward directly under its forward.

===========  =============================================  =======================================
name         forward                                        backward, d = gradient at the output
===========  =============================================  =======================================
input        rows of X laid out in panels
dense        Z = X W + b                                    dX = D W^T, db; dW: see `gradient`
activation   H = g(Z)                                       dZ = D g'(Z)
maxout       h_i = max over its K pieces z_i1 ... z_iK      d to the piece that won
add          A + B                                          dA = D, dB = D
multiply     A B, elementwise                               dA = D B, dB = D A
concat       one input's columns put beside the others'     dX = its columns of D
dropout      X M / (1 - rate), M random 0 or 1              dX = D M / (1 - rate), the same M
standardize  h = (x - m) s for each row x of X: m is its    dx = s (d - mean(d) - h mean(d h))
             mean, s = 1 / sqrt(its variance + epsilon)
layer_norm   H = g X + b, column by column                  dX = g D, dg = sum(D X), db = sum(D)
===========  =============================================  =======================================

A dense op of few units is ``narrow_dense``. One over a single row, for which weights are not worth
packing, is ``row_dense`` or ``narrow_row_dense`` (see `products`). A CSR matrix X has two ops of
its own, ``sparse_input`` and, reading X without laying it out, ``sparse_dense``. (Goodfellow et
al., 2016, sections 6.3.3 and 6.5.)

To add an op: its row in ``OPS``, its two functions, its branch in `forward` and `backward`, and, if
it owns parameters, in `row_gradient`. `nbnet.graph` makes the function of an elementwise op itself.

a. An op is a row of integers, a node is a row of integers: what to do, and where in one flat
   ``work`` buffer values and gradients of the node lie. Architectures are data, so none needs a
   new compile.
b. A node may feed several others. The plan knows who writes its gradient first; the first
   overwrites, the others add ("sum gradients from different paths").
c. Blocks of rows do not touch each other's numbers, so threads need no locks.
d. Padding columns hold zero, in values and gradients: `activation` restores it where g(0) is not 0.
e. A maxout unit is a dense node, all first pieces in front, then all second pieces ..., and a
   maximum over equally placed panels. So the engine does not keep the order of ``coefs_``, unit by
   unit; `nbnet.graph.layout` translates. A layer_norm node is a standardize op, then a layer_norm
   op on what that made.
f. Half of the ops are rarely used, but all must be compiled. Where an argument `general` is None,
   numba drops the branches that ask for it before it compiles: a plain stack of dense layers over
   dense X never pays for the others. `extras` does the same for what few networks have. (For the
   same reason a literal number is not handed to a kernel that also gets variables there: numba
   would compile it twice.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbnet.kernels.activations import CUSTOM_ACTIVATION, activate, multiply_by_derivative
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.barrier import stopped
from nbnet.kernels.machine.call import call
from nbnet.kernels.machine.moves import copy_row, gather_rows, prefetch, run
from nbnet.kernels.machine.random import drop, keys
from nbnet.kernels.machine.vectors import DEPTH
from nbnet.kernels.products import (
    add_columns,
    add_rows,
    affine,
    column_products,
    column_sums,
    narrow_affine,
    row_backward,
)
from nbnet.kernels.records import (
    ACT,
    ADD_0,
    ADD_1,
    BIAS,
    CODE,
    COLUMNS,
    DELTA,
    DERIVATIVE_ADDRESS,
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
    VALUE_ADDRESS,
    WEIGHTS,
    WIDTH,
    Block,
    Setting,
)

__all__ = ["OPS", "Op", "Owned", "backward", "data_row", "forward", "row_gradient"]

(
    INPUT,
    SPARSE_INPUT,
    DENSE,
    NARROW_DENSE,
    ROW_DENSE,
    NARROW_ROW_DENSE,
    SPARSE_DENSE,
    ACTIVATION,
    MAXOUT,
    ADD,
    MULTIPLY,
    CONCAT,
    STANDARDIZE,
    LAYER_NORM,
    DROPOUT,
) = range(15)


PREFETCHED = 4  # cache lines of a row; the rest of a longer one the processor fetches by itself


@dataclass(frozen=True)
class Owned:
    """A parameter that an op owns.

    Attributes
    ----------
    role : str
        What it is called behind the name of its node.
    group : str
        Key of ``GROUPS``.
    matrix : bool
        Whether its shape is (fan_in, width * pieces), or (width * pieces,) otherwise.
    initial : float or None
        Where each of its numbers starts; None draws them at random (see `nbnet.graph.parameters`).
    """

    role: str
    group: str
    matrix: bool = False
    initial: float | None = None


AFFINE = (Owned("weights", "weights", matrix=True), Owned("bias", "biases"))


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
    extra : bool
        Whether it is compiled only where another that is extra is used, of the few that this can
        be said of.
    owns : tuple of Owned
        The parameters of a node of this name, at most two.
    settings : tuple of Setting
        The numbers of a node of this name, at most ``NUMBERS``.
    elementwise : bool
        Whether `nbnet.graph` makes a function of this name for it by itself: nodes of one width in,
        a node of that width out.
    training_only : bool
        Whether a node of this name is its input, except where a fit trains or masks are asked for.
    natural : bool
        Whether there is an op that reads the parameters of such a node in the natural layout, for
        a forward pass over one row.
    """

    name: str
    code: int
    inputs: int = 1
    plain: bool = False
    extra: bool = False
    owns: tuple[Owned, ...] = ()
    settings: tuple[Setting, ...] = ()
    elementwise: bool = False
    training_only: bool = False
    natural: bool = False


OPS = {
    row.name: row
    for row in (
        Op("input", INPUT, inputs=0, plain=True),
        Op("sparse_input", SPARSE_INPUT, inputs=0),
        Op("dense", DENSE, plain=True, owns=AFFINE, natural=True),
        Op("narrow_dense", NARROW_DENSE, plain=True),
        Op("row_dense", ROW_DENSE, plain=True),
        Op("narrow_row_dense", NARROW_ROW_DENSE, plain=True),
        Op("sparse_dense", SPARSE_DENSE),
        Op("activation", ACTIVATION, plain=True),
        Op("maxout", MAXOUT, owns=AFFINE),
        Op("add", ADD, inputs=2),
        Op("multiply", MULTIPLY, inputs=2),
        Op("concat", CONCAT),
        Op(
            "dropout",
            DROPOUT,
            extra=True,
            settings=(Setting("rate", 0.0, 0.0, 1.0, closed=True),),
            training_only=True,
        ),
        Op("standardize", STANDARDIZE, extra=True),
        Op(
            "layer_norm",
            LAYER_NORM,
            extra=True,
            owns=(
                Owned("weights", "biases", initial=1.0),  # of the group without a penalty
                Owned("bias", "biases", initial=0.0),
            ),
            settings=(Setting("epsilon", 1e-5, 1e-37, math.inf, closed=True),),
            natural=True,
        ),
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
def input_forward(op, nodes, block, rows):
    """Buffer row r holds data row ``order[first + r]``, and zeros past `last`."""
    work, panel, v, r0, r1 = block
    x, order, first, last = rows.x, rows.order, rows.first, rows.last
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
def sparse_input_forward(op, nodes, block, rows):
    work, panel, v, r0, r1 = block
    x, indices, indptr, order, first, last = rows
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
def dense_forward(op, nodes, block, params):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    affine(
        work, x[VALUE], panel, r0, r1, v, params, op[WEIGHTS], op[INPUTS] * v, out[PANELS],
        (x[WIDTH] + DEPTH - 1) // DEPTH, work, out[VALUE], params, op[BIAS], np.int64(0), v,
    )  # fmt: skip


@kernel
def narrow_dense_forward(op, nodes, block, params):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    narrow_affine(
        work, x[VALUE], panel, r0, r1, v, params, op[WEIGHTS], x[PANELS],
        work, out[VALUE], out[WIDTH], params, op[BIAS],
    )  # fmt: skip


@kernel
def row_dense_forward(op, nodes, block, params):
    """One row of Z, the buffers being one row high, from weights as users see them."""
    x, out, work = nodes[op[IN_0]], nodes[op[OUT]], block.work
    n = out[WIDTH]
    z, row = run(work, out[VALUE], n), run(work, x[VALUE], x[WIDTH])
    weights = run(params, op[WEIGHTS], x[WIDTH] * n)
    _copy(run(params, op[BIAS], n), z)
    if op[CODE] == ROW_DENSE:
        add_rows(row, weights, z)
    else:
        add_columns(row, weights, z, run(work, 0, block.v))  # nothing starts from zeros here


@kernel
def dense_backward(op, nodes, block, params):
    """Of all three dense ops: what is narrow has its weights where others have their mirror."""
    work, panel, v, r0, r1 = block
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
def sparse_dense_forward(op, nodes, block, params, rows):
    """A row of Z is the bias plus a sum of rows of W; backward is that of a dense node."""
    work, panel, v, r0, r1 = block
    x, indices, indptr, order, first, last = rows
    out = nodes[op[OUT]]
    for r in range(r0, r1):
        row = data_row(order, first + r, last)
        begin, end = (indptr[row], indptr[row + 1]) if row >= 0 else (0, 0)
        for p in range(out[PANELS]):
            at = out[VALUE] + p * panel + r * v
            copy_row(params, op[BIAS] + p * v, v, work, at)
            gather_rows(x, indices, begin, end, params, op[WEIGHTS] + p * op[INPUTS] * v, work, at)


@kernel
def activation_forward(op, number, nodes, block, extras):
    work, panel, v, r0, r1 = block
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = out[VALUE] + p * panel
        h = run(work, at + r0 * v, n)
        if z[VALUE] != out[VALUE]:
            _copy(run(work, z[VALUE] + p * panel + r0 * v, n), h)
        if extras is not None and op[ACT] == CUSTOM_ACTIVATION:
            call(op[VALUE_ADDRESS], (h, n))
        else:
            activate(op[ACT], h, number, extras)
    used = out[WIDTH] - (out[PANELS] - 1) * v
    if used < v and op[RESTORE] == 1:
        at = out[VALUE] + (out[PANELS] - 1) * panel
        for r in range(r0, r1):
            for c in range(used, v):
                work[at + r * v + c] = 0


@kernel
def _activation_derivative(op, d, h, number, extras):
    if extras is not None and op[ACT] == CUSTOM_ACTIVATION:
        call(op[DERIVATIVE_ADDRESS], (d, h, d.size))
    else:
        multiply_by_derivative(op[ACT], d, h, number, extras)


@kernel
def activation_backward(op, number, nodes, block, scratch, extras):
    work, panel, v, r0, r1 = block
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    seen = out[VALUE] if op[FROM_VALUE] else z[VALUE]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        d = run(work, out[DELTA] + at, n)
        h = run(work, seen + at, n)
        dz = run(work, z[DELTA] + at, n)
        if z[DELTA] == out[DELTA]:
            _activation_derivative(op, d, h, number, extras)
        else:
            copy = run(scratch, 0, n)
            _copy(d, copy)
            _activation_derivative(op, copy, h, number, extras)
            _send(copy, dz, op[ADD_0])


@kernel
def maxout_forward(op, nodes, block):
    work, panel, v, r0, r1 = block
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
def maxout_backward(op, nodes, block, scratch):
    work, panel, v, r0, r1 = block
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
def add_forward(op, nodes, block):
    work, panel, v, r0, r1 = block
    first, second, out = nodes[op[IN_0]], nodes[op[IN_1]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        h = run(work, out[VALUE] + at, n)
        _copy(run(work, first[VALUE] + at, n), h)
        _add(run(work, second[VALUE] + at, n), h)


@kernel
def add_backward(op, nodes, block):
    work, panel, v, r0, r1 = block
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
def multiply_forward(op, nodes, block):
    work, panel, v, r0, r1 = block
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
def multiply_backward(op, nodes, block, scratch):
    work, panel, v, r0, r1 = block
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
def concat_forward(op, nodes, block):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for c in range(x[WIDTH]):
        of = x[VALUE] + (c // v) * panel + c % v
        c_out = op[FIRST] + c
        to = out[VALUE] + (c_out // v) * panel + c_out % v
        for r in range(r0, r1):
            work[to + r * v] = work[of + r * v]


@kernel
def concat_backward(op, nodes, block):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for c in range(x[WIDTH]):
        to = x[DELTA] + (c // v) * panel + c % v
        c_out = op[FIRST] + c
        of = out[DELTA] + (c_out // v) * panel + c_out % v
        for r in range(r0, r1):
            d = work[of + r * v]
            work[to + r * v] = work[to + r * v] + d if op[ADD_0] == 1 else d


@kernel
def _drop(work, at, to, to_at, n, row, panel, op, rate, width, rows, noise):
    """Drop from `n` rows of one panel, of which the first is buffer row `row`."""
    share = rate * noise.dropout
    first_key, second_key = keys(noise.seed, noise.step, op[OUT])
    counter = (rows.first - noise.first + row) * width + panel
    drop(
        work, at, to, to_at, n, counter, width, first_key, second_key,
        np.int64(share * 4294967296.0), work.dtype.type(1.0 / (1.0 - share)),
    )  # fmt: skip


@kernel
def dropout_forward(op, rate, nodes, block, rows, noise):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        _drop(
            work, x[VALUE] + at, work, out[VALUE] + at, r1 - r0, r0, p * v, op, rate, out[WIDTH],
            rows, noise,
        )  # fmt: skip


@kernel
def dropout_backward(op, rate, nodes, block, rows, noise, scratch):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        adds = op[ADD_0] == 1
        to, to_at = (scratch, 0) if adds else (work, x[DELTA] + at)
        _drop(
            work, out[DELTA] + at, to, to_at, r1 - r0, r0, p * v, op, rate, out[WIDTH], rows, noise
        )
        if adds:
            _add(run(scratch, 0, n), run(work, x[DELTA] + at, n))


@kernel
def _used(width, p, v):
    """Columns of panel `p` that are not padding."""
    return min(v, width - p * v)


@kernel(reassociate=True)
def _mean_and_scale(work, at, panel, width, v, epsilon):
    """The mean of the row that begins at `at`, and 1 / sqrt(variance + epsilon)."""
    number = work.dtype.type
    panels = (width + v - 1) // v
    total = number(0)
    for p in range(panels):
        x = run(work, at + p * panel, _used(width, p, v))
        for i in range(x.size):
            total += x[i]
    mean = total / number(width)
    squares = number(0)
    for p in range(panels):
        x = run(work, at + p * panel, _used(width, p, v))
        for i in range(x.size):
            squares += (x[i] - mean) * (x[i] - mean)
    return mean, number(1) / math.sqrt(squares / number(width) + number(epsilon))


@kernel(reassociate=True)
def _means(work, d_at, h_at, panel, width, v):
    """The means of the rows d and d h that begin at `d_at` and `h_at`."""
    number = work.dtype.type
    total, products = number(0), number(0)
    for p in range((width + v - 1) // v):
        n = _used(width, p, v)
        d, h = run(work, d_at + p * panel, n), run(work, h_at + p * panel, n)
        for i in range(d.size):
            total += d[i]
            products += d[i] * h[i]
    return total / number(width), products / number(width)


@kernel
def standardize_forward(op, epsilon, nodes, block):
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    width = out[WIDTH]
    for r in range(r0, r1):
        mean, scale = _mean_and_scale(work, x[VALUE] + r * v, panel, width, v, epsilon)
        for p in range(out[PANELS]):
            at, n = p * panel + r * v, _used(width, p, v)
            row, h = run(work, x[VALUE] + at, n), run(work, out[VALUE] + at, n)
            for i in range(h.size):
                h[i] = (row[i] - mean) * scale


@kernel
def standardize_backward(op, epsilon, nodes, block):
    """In place at first: nobody else reads the gradient of what the layer_norm op alone reads."""
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    width = out[WIDTH]
    for r in range(r0, r1):
        row = r * v
        _, scale = _mean_and_scale(work, x[VALUE] + row, panel, width, v, epsilon)
        mean, slope = _means(work, out[DELTA] + row, out[VALUE] + row, panel, width, v)
        for p in range(out[PANELS]):
            at, n = p * panel + row, _used(width, p, v)
            d, h = run(work, out[DELTA] + at, n), run(work, out[VALUE] + at, n)
            for i in range(d.size):
                d[i] = scale * (d[i] - mean - h[i] * slope)
    n = (r1 - r0) * v
    for p in range(out[PANELS]):
        at = p * panel + r0 * v
        _send(run(work, out[DELTA] + at, n), run(work, x[DELTA] + at, n), op[ADD_0])


@kernel
def layer_norm_forward(op, nodes, block, params):
    """Padding is left alone, for in the natural layout other parameters lie behind the last."""
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        n = _used(out[WIDTH], p, v)
        gain, bias = run(params, op[WEIGHTS] + p * v, n), run(params, op[BIAS] + p * v, n)
        for r in range(r0, r1):
            at = p * panel + r * v
            row, h = run(work, x[VALUE] + at, n), run(work, out[VALUE] + at, n)
            for i in range(h.size):
                h[i] = row[i] * gain[i] + bias[i]


@kernel
def layer_norm_backward(op, nodes, block, params):
    """The gradient is all that its input gets, for nobody else reads that."""
    work, panel, v, r0, r1 = block
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        n = _used(out[WIDTH], p, v)
        gain = run(params, op[WEIGHTS] + p * v, n)
        for r in range(r0, r1):
            at = p * panel + r * v
            d, dx = run(work, out[DELTA] + at, n), run(work, x[DELTA] + at, n)
            for i in range(d.size):
                dx[i] = d[i] * gain[i]


@kernel
def forward(tables, rows, work, r0, r1, params, sync, noise, general, extras, forward_only):
    """Values of all nodes for buffer rows `r0` to `r1`; cut short by the stop flag.

    Parameters
    ----------
    tables : Tables
    rows : Rows
    work : flat values and gradients of all nodes
    r0, r1 : int
        Multiples of the tile's rows.
    params : engine layout, the transposed weights behind it
    sync : the threads' flags, see `barrier`
    noise : Noise
    general : None or 1
        None where all ops are plain or extra (see ``Op``).
    extras : None or not
        None where no op is extra, and no activation.
    forward_only : None or 1
        None where training, which has no use for the ops of a single row.
    """
    nodes = tables.nodes
    block = Block(work, tables.head[H_PANEL], tables.head[H_LANES], r0, r1)
    for k in range(tables.ops.shape[0]):
        if stopped(sync):
            return
        op, numbers = tables.ops[k], tables.numbers[k]
        code = op[CODE]
        if code == INPUT:
            input_forward(op, nodes, block, rows)
        elif code == DENSE:
            dense_forward(op, nodes, block, params)
        elif code == NARROW_DENSE:
            narrow_dense_forward(op, nodes, block, params)
        elif code == ACTIVATION:
            activation_forward(op, numbers[0], nodes, block, extras)
        elif forward_only is not None and code in (ROW_DENSE, NARROW_ROW_DENSE):
            row_dense_forward(op, nodes, block, params)
        elif extras is not None and code in (DROPOUT, STANDARDIZE, LAYER_NORM):
            if code == DROPOUT:
                dropout_forward(op, numbers[0], nodes, block, rows, noise)
            elif code == STANDARDIZE:
                standardize_forward(op, numbers[0], nodes, block)
            elif code == LAYER_NORM:
                layer_norm_forward(op, nodes, block, params)
        elif general is not None:
            if code == SPARSE_INPUT:
                sparse_input_forward(op, nodes, block, rows)
            elif code == SPARSE_DENSE:
                sparse_dense_forward(op, nodes, block, params, rows)
            elif code == MAXOUT:
                maxout_forward(op, nodes, block)
            elif code == ADD:
                add_forward(op, nodes, block)
            elif code == MULTIPLY:
                multiply_forward(op, nodes, block)
            elif code == CONCAT:
                concat_forward(op, nodes, block)


@kernel
def backward(tables, rows, work, r0, r1, params, scratch, sync, noise, general, extras):
    """Gradients at all nodes from that at the output; arguments as in `forward`.

    `scratch` is room for a panel of this block of rows.
    """
    nodes = tables.nodes
    block = Block(work, tables.head[H_PANEL], tables.head[H_LANES], r0, r1)
    for k in range(tables.ops.shape[0] - 1, -1, -1):
        if stopped(sync):
            return
        op, numbers = tables.ops[k], tables.numbers[k]
        code = op[CODE]
        if op[ADD_0] < 0 and op[ADD_1] < 0:
            continue  # nobody wants a gradient below
        if code in (DENSE, NARROW_DENSE, SPARSE_DENSE):
            dense_backward(op, nodes, block, params)
        elif code == ACTIVATION:
            activation_backward(op, numbers[0], nodes, block, scratch, extras)
        elif extras is not None and code in (DROPOUT, STANDARDIZE, LAYER_NORM):
            if code == DROPOUT:
                dropout_backward(op, numbers[0], nodes, block, rows, noise, scratch)
            elif code == STANDARDIZE:
                standardize_backward(op, numbers[0], nodes, block)
            elif code == LAYER_NORM:
                layer_norm_backward(op, nodes, block, params)
        elif general is not None:
            if code == MAXOUT:
                maxout_backward(op, nodes, block, scratch)
            elif code == ADD:
                add_backward(op, nodes, block)
            elif code == MULTIPLY:
                multiply_backward(op, nodes, block, scratch)
            elif code == CONCAT:
                concat_backward(op, nodes, block)


@kernel
def row_gradient(op, parameter, panels_at, panels, n_rows, tables, work, gradient, general, extras):
    """Gradient of a parameter that has a number for each output column, over the whole batch.

    Parameters
    ----------
    op : a row of ``Tables.ops``
    parameter : int
        Which of the op's parameters, in the order of ``Op.owns``.
    panels_at, panels : int
        The first of the output's panels to take, and how many.
    n_rows : int
        Rows in the buffers, a multiple of ``DEPTH``; those past the batch are zero.
    tables : Tables
    work : flat values and gradients of all nodes
    gradient : (panels * V,) written
    general, extras : as in `forward`
    """
    panel, v = tables.head[H_PANEL], tables.head[H_LANES]
    out = tables.nodes[op[OUT]]
    code = op[CODE]
    if code in (DENSE, NARROW_DENSE, SPARSE_DENSE):
        for p in range(panels):
            delta = out[DELTA] + (panels_at + p) * panel
            column_sums(run(work, delta, n_rows * v), v, run(gradient, p * v, v))
    elif extras is not None and code == LAYER_NORM:
        x = tables.nodes[op[IN_0]]
        for p in range(panels):
            at = (panels_at + p) * panel
            d, sums = run(work, out[DELTA] + at, n_rows * v), run(gradient, p * v, v)
            if parameter == 0:
                column_products(d, run(work, x[VALUE] + at, n_rows * v), v, sums)
            else:
                column_sums(d, v, sums)
