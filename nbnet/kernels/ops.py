"""The operations of a graph over a block of rows: each backward directly under its forward.

===========  =============================================  =======================================
name         forward                                        backward, d = gradient at the output
===========  =============================================  =======================================
dense        Z = X W + b                                    dX = D W^T (dW and db: see `step`)
activation   H = g(Z)                                       dZ = D g'(Z)
maxout       h_i = max over its K pieces z_i1 ... z_iK      d goes to the piece that won
add          A + B                                          dA = D, dB = D
multiply     A B, elementwise                               dA = D B, dB = D A
concat       one input's columns put beside the others'     dX = its columns of D
===========  =============================================  =======================================

(Goodfellow et al., 2016, sections 6.3.3 and 6.5.) To add one: its row in ``OPS``, its two
functions, its branch in `forward` and `backward`, and its node in `nbnet.graph`.

a. An op is a row of integers, a node is a row of integers: what to do, and where in one flat
   ``work`` buffer values and gradients of the node lie. Architectures are data, so none needs a
   new compile.
b. A node may feed several others. The plan knows who writes its gradient first; the first
   overwrites, the others add ("sum gradients from different paths").
c. Blocks of rows do not touch each other's numbers, so threads need no locks.
d. Padding columns hold zero, in values and gradients: `activation` restores it where g(0) is not 0.
e. A maxout unit is a dense node, all first pieces in front, then all second pieces ..., and a
   maximum over equally placed panels, which is why this order is used and not scikit-learn's-like
   (unit by unit) order of ``coefs_``; `nbnet.plan` translates.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbnet.kernels._jit import kernel
from nbnet.kernels._tile import DEPTH
from nbnet.kernels.activations import activate, multiply_by_slope
from nbnet.kernels.matmul import affine

__all__ = ["NODE_COLUMNS", "OPS", "OP_COLUMNS", "Op", "backward", "forward"]

DENSE, ACTIVATION, MAXOUT, ADD, MULTIPLY, CONCAT = range(6)


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
    parameters : bool
        Whether it has weights and a bias.
    """

    name: str
    code: int
    inputs: int = 1
    parameters: bool = False


OPS = {
    row.name: row
    for row in (
        Op("dense", DENSE, parameters=True),
        Op("activation", ACTIVATION),
        Op("maxout", MAXOUT),
        Op("add", ADD, inputs=2),
        Op("multiply", MULTIPLY, inputs=2),
        Op("concat", CONCAT),
    )
}

NODE_COLUMNS = ("width", "panels", "value", "delta")
WIDTH, PANELS, VALUE, DELTA = range(len(NODE_COLUMNS))

OP_COLUMNS = (
    "code",  # of OPS
    "in_0",  # nodes
    "in_1",
    "out",
    "add_0",  # gradient of in_0: -1 not wanted, 0 overwrite, 1 add
    "add_1",
    "activation",  # code of ACTIVATIONS
    "from_value",  # its slope_from_value
    "pieces",
    "first",  # concat: first output column
    "weights",  # offsets: parameters,
    "bias",
    "mirror",  # and transposed weights, -1 if never needed
    "inputs",  # rows of the weight matrix, padded
    "columns",  # its columns, padded: rows of the transposed copy
)
(
    CODE,
    IN_0,
    IN_1,
    OUT,
    ADD_0,
    ADD_1,
    ACT,
    FROM_VALUE,
    PIECES,
    FIRST,
    WEIGHTS,
    BIAS,
    MIRROR,
    INPUTS,
    COLUMNS,
) = range(len(OP_COLUMNS))


@kernel
def _send(d, to, add):
    """Write the gradient `d` to the slice `to`, or add it."""
    if add == 1:
        for i in range(d.size):
            to[i] += d[i]
    else:
        for i in range(d.size):
            to[i] = d[i]


@kernel
def dense_forward(op, nodes, work, panel, v, r0, r1, params):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    affine(
        work, x[VALUE], panel, r0, r1, v, params, op[WEIGHTS], op[INPUTS] * v, out[PANELS],
        (x[WIDTH] + DEPTH - 1) // DEPTH, work, out[VALUE], params, op[BIAS], 0, v,
    )  # fmt: skip


@kernel
def dense_backward(op, nodes, work, panel, v, r0, r1, mirror):
    x, out = nodes[op[IN_0]], nodes[op[OUT]]
    add = op[ADD_0]
    if add >= 0:  # start from the gradient so far, or from the zeros at the head of `work`
        affine(
            work, out[DELTA], panel, r0, r1, v, mirror, op[MIRROR], op[COLUMNS] * v, x[PANELS],
            op[COLUMNS] // DEPTH, work, x[DELTA], work, add * x[DELTA], add * v, add * panel,
        )  # fmt: skip


@kernel
def activation_forward(op, negative_slope, nodes, work, panel, v, r0, r1):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        at = out[VALUE] + p * panel
        h = work[at + r0 * v : at + r1 * v]
        if z[VALUE] != out[VALUE]:
            of = z[VALUE] + p * panel
            _send(work[of + r0 * v : of + r1 * v], h, 0)
        activate(op[ACT], h, negative_slope)
    used = out[WIDTH] - (out[PANELS] - 1) * v
    if used < v:
        at = out[VALUE] + (out[PANELS] - 1) * panel
        for r in range(r0, r1):
            work[at + r * v + used : at + (r + 1) * v] = 0


@kernel
def activation_backward(op, negative_slope, nodes, work, panel, v, r0, r1, scratch):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    seen = out[VALUE] if op[FROM_VALUE] else z[VALUE]
    for p in range(out[PANELS]):
        a, b = p * panel + r0 * v, p * panel + r1 * v
        d = work[out[DELTA] + a : out[DELTA] + b]
        h = work[seen + a : seen + b]
        dz = work[z[DELTA] + a : z[DELTA] + b]
        if z[DELTA] == out[DELTA]:
            multiply_by_slope(op[ACT], d, h, negative_slope)
        else:
            copy = scratch[: d.size]
            _send(d, copy, 0)
            multiply_by_slope(op[ACT], copy, h, negative_slope)
            _send(copy, dz, op[ADD_0])


@kernel
def maxout_forward(op, nodes, work, panel, v, r0, r1):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        at = out[VALUE] + p * panel
        h = work[at + r0 * v : at + r1 * v]
        for k in range(op[PIECES]):
            of = z[VALUE] + (k * out[PANELS] + p) * panel
            piece = work[of + r0 * v : of + r1 * v]
            if k == 0:
                _send(piece, h, 0)
            else:
                for i in range(h.size):  # written so that NaN wins
                    keep = piece[i] <= h[i] or h[i] != h[i]
                    h[i] = h[i] if keep else piece[i]


@kernel
def maxout_backward(op, nodes, work, panel, v, r0, r1, scratch):
    z, out = nodes[op[IN_0]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        a, b = p * panel + r0 * v, p * panel + r1 * v
        h = work[out[VALUE] + a : out[VALUE] + b]
        left = scratch[: h.size]  # what no piece has claimed yet: of equal pieces the first wins
        _send(work[out[DELTA] + a : out[DELTA] + b], left, 0)
        for k in range(op[PIECES]):
            shift = k * out[PANELS] * panel
            piece = work[z[VALUE] + shift + a : z[VALUE] + shift + b]
            dz = work[z[DELTA] + shift + a : z[DELTA] + shift + b]
            for i in range(h.size):
                won = piece[i] == h[i]
                dz[i] = left[i] if won else dz.dtype.type(0)
                left[i] = dz.dtype.type(0) if won else left[i]


@kernel
def add_forward(op, nodes, work, panel, v, r0, r1):
    first, second, out = nodes[op[IN_0]], nodes[op[IN_1]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        a, b = p * panel + r0 * v, p * panel + r1 * v
        h = work[out[VALUE] + a : out[VALUE] + b]
        _send(work[first[VALUE] + a : first[VALUE] + b], h, 0)
        _send(work[second[VALUE] + a : second[VALUE] + b], h, 1)


@kernel
def add_backward(op, nodes, work, panel, v, r0, r1):
    out = nodes[op[OUT]]
    for side in range(2):
        to = nodes[op[IN_0 + side]][DELTA]
        if op[ADD_0 + side] >= 0:
            for p in range(out[PANELS]):
                a, b = p * panel + r0 * v, p * panel + r1 * v
                d = work[out[DELTA] + a : out[DELTA] + b]
                _send(d, work[to + a : to + b], op[ADD_0 + side])


@kernel
def multiply_forward(op, nodes, work, panel, v, r0, r1):
    first, second, out = nodes[op[IN_0]], nodes[op[IN_1]], nodes[op[OUT]]
    for p in range(out[PANELS]):
        a, b = p * panel + r0 * v, p * panel + r1 * v
        h = work[out[VALUE] + a : out[VALUE] + b]
        x = work[first[VALUE] + a : first[VALUE] + b]
        y = work[second[VALUE] + a : second[VALUE] + b]
        for i in range(h.size):
            h[i] = x[i] * y[i]


@kernel
def multiply_backward(op, nodes, work, panel, v, r0, r1, scratch):
    out = nodes[op[OUT]]
    for side in range(2):
        to = nodes[op[IN_0 + side]][DELTA]
        other = nodes[op[IN_1 - side]][VALUE]
        if op[ADD_0 + side] >= 0:
            for p in range(out[PANELS]):
                a, b = p * panel + r0 * v, p * panel + r1 * v
                d = work[out[DELTA] + a : out[DELTA] + b]
                y = work[other + a : other + b]
                product = scratch[: d.size]
                for i in range(d.size):
                    product[i] = d[i] * y[i]
                _send(product, work[to + a : to + b], op[ADD_0 + side])


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
    if op[ADD_0] >= 0:
        for c in range(x[WIDTH]):
            to = x[DELTA] + (c // v) * panel + c % v
            c_out = op[FIRST] + c
            of = out[DELTA] + (c_out // v) * panel + c_out % v
            for r in range(r0, r1):
                d = work[of + r * v]
                work[to + r * v] = work[to + r * v] + d if op[ADD_0] == 1 else d


@kernel
def forward(op, negative_slope, nodes, work, panel, v, r0, r1, params):
    """Value of one op's output for rows `r0` to `r1`.

    Parameters
    ----------
    op : (len(OP_COLUMNS),)
    negative_slope : float
        Of this op's activation.
    nodes : (nodes, len(NODE_COLUMNS))
    work : flat values and gradients of all nodes
    panel : int
        Numbers in a panel of `work`.
    v : int
        Width of a panel.
    r0, r1 : int
        Multiples of the tile's rows.
    params : (P,) in engine layout
    """
    code = op[CODE]
    if code == DENSE:
        dense_forward(op, nodes, work, panel, v, r0, r1, params)
    elif code == ACTIVATION:
        activation_forward(op, negative_slope, nodes, work, panel, v, r0, r1)
    elif code == MAXOUT:
        maxout_forward(op, nodes, work, panel, v, r0, r1)
    elif code == ADD:
        add_forward(op, nodes, work, panel, v, r0, r1)
    elif code == MULTIPLY:
        multiply_forward(op, nodes, work, panel, v, r0, r1)
    elif code == CONCAT:
        concat_forward(op, nodes, work, panel, v, r0, r1)


@kernel
def backward(op, negative_slope, nodes, work, panel, v, r0, r1, mirror, scratch):
    """Gradient at one op's inputs from that at its output; parameters as `forward`.

    `mirror` holds the transposed weights, `scratch` room for a panel of this block of rows.
    """
    code = op[CODE]
    if code == DENSE:
        dense_backward(op, nodes, work, panel, v, r0, r1, mirror)
    elif code == ACTIVATION:
        if op[ADD_0] >= 0:
            activation_backward(op, negative_slope, nodes, work, panel, v, r0, r1, scratch)
    elif code == MAXOUT:
        if op[ADD_0] >= 0:
            maxout_backward(op, nodes, work, panel, v, r0, r1, scratch)
    elif code == ADD:
        add_backward(op, nodes, work, panel, v, r0, r1)
    elif code == MULTIPLY:
        multiply_backward(op, nodes, work, panel, v, r0, r1, scratch)
    elif code == CONCAT:
        concat_backward(op, nodes, work, panel, v, r0, r1)
