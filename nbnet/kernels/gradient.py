"""Phase 2a of a step: the gradient of one task's parameters, over the whole batch.

A task is a tile of a weight matrix, or some of a parameter with a number for each output column.
Its gradient is left in scratch, and still lies in the first-level cache when `update` takes it.
Where the whole gradient is wanted before anything is updated (L-BFGS, several machines, a look at
it), it is stored as well.
"""

from __future__ import annotations

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.moves import run, scatter_rows
from nbnet.kernels.machine.vectors import DEPTH
from nbnet.kernels.ops import data_row, row_gradient
from nbnet.kernels.products import narrow_weight_gradient, row_weight_gradient, weight_gradient
from nbnet.kernels.records import (
    DELTA,
    G_PENALTY,
    H_BATCH,
    H_LANES,
    H_PANEL,
    H_WHOLE,
    IN_0,
    INPUTS,
    NARROW_TASK,
    OUT,
    ROW_TASK,
    TASK_GROUP,
    TASK_KIND,
    TASK_N_ROWS,
    TASK_OP,
    TASK_PANEL,
    TASK_PANELS,
    TASK_PARAMETER,
    TASK_ROW,
    VALUE,
    WEIGHTS,
    WEIGHTS_TASK,
    WIDTH,
)

__all__ = ["TASK_ROWS", "gradient", "owned"]

TASK_ROWS = 64  # rows of a weight matrix a task takes at a time: with three panels, 12 KiB


@kernel
def owned(task, op, v):
    """What a task owns: a number of runs, the parameters in each, where the first begins.

    The last number is how far the beginnings of two runs are apart.
    """
    kind, panel, panels = task[TASK_KIND], task[TASK_PANEL], task[TASK_PANELS]
    if kind == ROW_TASK:
        return 1, panels * v, op[WEIGHTS + task[TASK_PARAMETER]] + panel * v, 0
    if kind == NARROW_TASK:
        return 1, panels * DEPTH * v, op[WEIGHTS] + panel * DEPTH * v, 0
    apart = op[INPUTS] * v
    return panels, task[TASK_N_ROWS] * v, op[WEIGHTS] + panel * apart + task[TASK_ROW] * v, apart


@kernel(reassociate=True)
def _add_penalty(gradient, params, l2):
    """``gradient += l2 * params``; returns the sum of squares of `params`."""
    total = params.dtype.type(0)
    for i in range(params.size):
        total += params[i] * params[i]
        gradient[i] += l2 * params[i]
    return total


@kernel
def _sparse_gradient(v, work, delta, rows, gradient):
    """One panel of ``G = X^T D`` for CSR rows; that of D lies at `delta`."""
    x, indices, indptr, order, first, last = rows
    for i in range(gradient.size):
        gradient[i] = 0
    for r in range(last - first):
        row = data_row(order, first + r, last)
        scatter_rows(x, indices, indptr[row], indptr[row + 1], work, delta + r * v, gradient, 0)


@kernel
def _over_parts(gradient, stored, begun, more):
    """Add up a run of the gradient over a batch's parts; after the last it is in `gradient`."""
    if more and begun:
        for i in range(gradient.size):
            stored[i] += gradient[i]
    elif more:
        for i in range(gradient.size):
            stored[i] = gradient[i]
    elif begun:
        for i in range(gradient.size):
            gradient[i] += stored[i]


@kernel
def _fill(task, op, tables, rows, work, scratch, general, extras):
    """The gradient of a task over the rows in the buffers, one run behind the other."""
    head, nodes = tables.head, tables.nodes
    first_panel, panels, kind = task[TASK_PANEL], task[TASK_PANELS], task[TASK_KIND]
    v, panel = head[H_LANES], head[H_PANEL]
    out = nodes[op[OUT]]
    # Buffers hold zeros up to there.
    n_rows = (rows.last - rows.first + DEPTH - 1) // DEPTH * DEPTH
    if kind == ROW_TASK:
        row_gradient(
            op, task[TASK_PARAMETER], first_panel, panels, n_rows, tables, work,
            run(scratch, 0, panels * v), general, extras,
        )  # fmt: skip
        return
    x = nodes[op[IN_0], VALUE]
    if kind == NARROW_TASK:
        narrow_weight_gradient(
            work, x + first_panel * panel, panel, panels, v,
            work, out[DELTA], out[WIDTH], n_rows // DEPTH,
            run(scratch, 0, panels * DEPTH * v), work,
        )  # fmt: skip
        return
    delta, i0 = out[DELTA] + first_panel * panel, task[TASK_ROW]
    i1, n = i0 + task[TASK_N_ROWS], task[TASK_N_ROWS] * v
    if kind == WEIGHTS_TASK and head[H_BATCH] == 1:
        row_weight_gradient(work, x, panel, i0, i1, v, work, delta, panels, scratch, n)
    elif kind == WEIGHTS_TASK:
        weight_gradient(
            work, x, panel, i0, i1, v, work, delta, panels, n_rows // DEPTH, scratch, 0, n, work
        )
    elif general is not None:
        _sparse_gradient(v, work, delta, rows, run(scratch, 0, n))


@kernel
def gradient(
    task, tables, rows, begun, more, l2, groups, weights, work, scratch, general, extras
):  # fmt: skip
    """Gradient of one task; after the batch's last part, the L2 penalty's too.

    Parameters
    ----------
    task : (len(TASK_COLUMNS),)
    tables : Tables
    rows : Rows
        The part of the batch that lies in the buffers.
    begun, more : bool
        Whether parts of the batch were before this one, and whether some are to come.
    l2 : float
        alpha / (sum of the batch's weights).
    groups : (groups, len(GROUP_COLUMNS))
    weights : Weights
    work : flat values and gradients of all nodes
    scratch : written: the task's runs, one behind the other
    general, extras : as in `ops.forward`

    Returns
    -------
    float
        Sum of squared parameters, weighed by their group's penalty.
    """
    op, head = tables.ops[task[TASK_OP]], tables.head
    _fill(task, op, tables, rows, work, scratch, general, extras)
    runs, n, at, apart = owned(task, op, head[H_LANES])
    penalty = groups[task[TASK_GROUP], G_PENALTY]
    params = weights.params
    squares = 0.0
    for k in range(runs):
        part, stored = run(scratch, k * n, n), run(weights.stored, at, n)
        _over_parts(part, stored, begun, more)
        if not more:
            if l2 * penalty != 0:
                factor = params.dtype.type(l2 * penalty)
                squares += penalty * _add_penalty(part, run(params, at, n), factor)
            if head[H_WHOLE] != 0:
                for i in range(n):
                    stored[i] = part[i]
        at += apart
    return squares
