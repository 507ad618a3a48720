"""Phase 1 of a step: all ops forward, the loss, and all ops backward, over a block of rows.

a. Rows do not touch each other's numbers, so threads need no locks, and a block's activations stay
   in cache.
b. A row's loss and gradient are multiplied by its weight and by 1 / (sum of the batch's weights)
   here and nowhere else.
"""

from __future__ import annotations

import numpy as np

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.losses import CUSTOM_LOSS, apply_inverse_link, value_and_gradient
from nbnet.kernels.machine.call import call
from nbnet.kernels.machine.moves import run, transpose_block
from nbnet.kernels.ops import data_row
from nbnet.kernels.records import (
    DELTA,
    H_LANES,
    H_LOSS,
    H_LOSS_ADDRESS,
    H_OUTPUT,
    H_PANEL,
    H_TARGETS,
    VALUE,
    WIDTH,
)

__all__ = ["loss_of_rows", "outputs_of_rows", "scratch_for_rows"]

# A multiple of the numbers in any processor's vector. A vectorised loop treats what is left over by
# other code, which may round differently. So loops over rows run to a multiple of this: how many
# rows a block has depends on the number of threads, and on what is predicted beside a row.
WHOLE_VECTORS = 16


@kernel
def _whole_vectors(rows):
    return (rows + WHOLE_VECTORS - 1) // WHOLE_VECTORS * WHOLE_VECTORS


def scratch_for_rows(rows: int, outputs: int, targets: int = 0) -> int:
    """Numbers of scratch that a block of so many rows needs for the loss of so many raw outputs.

    `targets` need only be told where there may be more of them than raw outputs.
    """
    return (outputs + max(outputs, targets) + 3) * (rows + WHOLE_VECTORS)


@kernel
def exchange(head, work, at, r0, rows, n, z, high, inward):
    """Copy `rows` buffer rows of a node to `z`, `high` numbers for each column, or back (0)."""
    v, panel = head[H_LANES], head[H_PANEL]
    for c0 in range(0, n, v):
        here, there = at + (c0 // v) * panel + r0 * v, c0 * high
        if n - c0 >= v and rows % v == 0:
            for r in range(0, rows, v):
                if inward == 1:
                    transpose_block(work, here + r * v, v, z, there + r, high)
                else:
                    transpose_block(z, there + r, high, work, here + r * v, v)
        else:
            for c in range(min(v, n - c0)):
                column = run(z, there + c * high, rows)
                if inward == 1:
                    for r in range(rows):
                        column[r] = work[here + r * v + c]
                else:
                    for r in range(rows):
                        work[here + r * v + c] = column[r]


@kernel
def _custom_loss(address, z, target, high, height, value, weight, scratch):
    """Call the user's function with a copy of each row; `z` is replaced by the gradient.

    `scratch` is room for two rows of raw outputs and one of targets.
    """
    n, targets = z.size // high, target.size // high
    raw, y, gradient = run(scratch, 0, n), run(scratch, n, targets), run(scratch, n + targets, n)
    for r in range(height):
        if weight[r] == 0:
            continue
        for c in range(n):
            raw[c] = z[c * high + r]
            gradient[c] = 0
        for t in range(targets):
            y[t] = target[t * high + r]
        call(address, (raw, y, gradient, run(value, r, 1), n, targets))
        for c in range(n):
            z[c * high + r] = gradient[c]


@kernel
def loss_of_rows(
    tables, rows, y, weights, r0, r1, scale, work, scratch, losses, numbers, rare, extras
):  # fmt: skip
    """Weighted loss of each row of a block, and its gradient at the output node.

    Parameters
    ----------
    tables : Tables
    rows : Rows
    y : (N * T,) targets
    weights : (N,) or empty
    r0, r1 : int
        The block: buffer rows.
    scale : float
        1 / (sum of the batch's weights).
    work : flat values and gradients of all nodes, changed
    scratch : room as `scratch_for_rows` says
    losses : (buffer rows,) written
    numbers, rare, extras : as in `value_and_gradient`
    """
    head, order, first, last = tables.head, rows.order, rows.first, rows.last
    targets = head[H_TARGETS]
    out = tables.nodes[head[H_OUTPUT]]
    height, n = r1 - r0, out[WIDTH]
    high = _whole_vectors(height)
    z, target = run(scratch, 0, n * high), run(scratch, n * high, targets * high)
    at = (n + targets) * high
    value, weight = run(scratch, at, high), run(scratch, at + high, high)
    for r in range(high):
        row = data_row(order, first + r0 + r, last) if r < height else -1
        weight[r] = 0 if row < 0 else (weights[row] if weights.size > 0 else 1)
        for t in range(targets):
            target[t * high + r] = y[max(row, 0) * targets + t]
    exchange(head, work, out[VALUE], r0, height, n, z, high, np.int64(1))
    if extras is not None and head[H_LOSS] == CUSTOM_LOSS:
        room = run(scratch, at + 2 * high, 2 * n + targets)  # the multiple of `high` is not all
        _custom_loss(head[H_LOSS_ADDRESS], z, target, high, height, value, weight, room)
    else:
        value_and_gradient(
            head[H_LOSS],
            z,
            target,
            high,
            value,
            run(scratch, at + 2 * high, high),
            numbers,
            rare,
            extras,
        )
    # Padding, or a row left out, has neither loss nor gradient, were they infinite.
    for r in range(height):
        losses[r0 + r] = value[r] * weight[r] if weight[r] != 0 else 0
        weight[r] *= scale
    for c in range(n):
        column = run(z, c * high, high)
        for r in range(high):
            column[r] = column[r] * weight[r] if weight[r] != 0 else 0
    exchange(head, work, out[DELTA], r0, height, n, z, high, np.int64(0))


@kernel
def outputs_of_rows(tables, work, r0, start, height, link, scratch, out):
    """Write the outputs of `height` rows to `out` from its row `start` on.

    Parameters
    ----------
    tables : Tables
    work : flat values of all nodes
    r0 : int
        The first buffer row.
    link : int
        Code of the loss whose inverse link to apply, -1 for raw outputs.
    scratch : room as `scratch_for_rows` says
    out : (N * R,) written
    """
    output = tables.nodes[tables.head[H_OUTPUT]]
    n, high = output[WIDTH], _whole_vectors(height)
    z = run(scratch, 0, n * high)
    for c in range(n):
        for r in range(height, high):
            z[c * high + r] = 0
    exchange(tables.head, work, output[VALUE], r0, height, n, z, high, np.int64(1))
    if link >= 0:
        apply_inverse_link(link, z, high, run(scratch, n * high, high))
    for c in range(n):
        for r in range(height):
            out[(start + r) * n + c] = z[c * high + r]
