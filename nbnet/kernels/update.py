"""Phase 2b of a step: the optimizer's step for one task's parameters.

The transposed copy of the weights, which phase 1 reads on its way back, is refreshed while the tile
is still in cache. So is the average of the parameters over the steps, if one is wanted.

To clip a gradient by its norm, all of it must be there first. Then each task leaves the sum of its
squares, and every thread adds these up in the order of the tasks.
"""

from __future__ import annotations

import math

import numpy as np

from nbnet.kernels import optimizers
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.gradient import owned
from nbnet.kernels.machine.moves import run, transpose_block
from nbnet.kernels.records import (
    COLUMNS,
    H_AVERAGE,
    H_LANES,
    H_OPTIMIZER,
    MIRROR,
    TASK_GROUP,
    TASK_KIND,
    TASK_N_ROWS,
    TASK_OP,
    TASK_PANEL,
    TASK_ROW,
    WEIGHTS_TASK,
)

__all__ = ["clipping", "share_in_average", "sum_of_squares", "update"]


@kernel
def _transpose(params, at, to, rows, first_row, columns, column, inputs_panel, v):
    """Copy `rows` x V weights of one panel into the transposed panels behind the parameters.

    Weight (i, c) of the panel lies at ``at + (i - first_row) * v + c``; its copy at row
    ``column + c`` of transposed panel ``i // v``.
    """
    used = min(v, columns - column)
    for i0 in range(0, rows, v):
        n = min(v, rows - i0)
        start = to + ((first_row + i0) // v) * inputs_panel + column * v
        if n == v and used == v:
            transpose_block(params, at + i0 * v, v, params, start, v)
            continue
        block = run(params, at + i0 * v, n * v)
        for c in range(used):
            row = run(params, start + c * v, n)
            for i in range(n):
                row[i] = block[i * v + c]


@kernel(reassociate=True)
def _squares(x):
    """Sum of squares, in double precision: in single, that of a large gradient is infinite."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@kernel
def sum_of_squares(task, tables, gradient, from_stored):
    """Sum of the squares of a task's gradient; arguments as in `update`."""
    runs, n, at, apart = owned(task, tables.ops[task[TASK_OP]], tables.head[H_LANES])
    total = 0.0
    for k in range(runs):
        total += _squares(run(gradient, at if from_stored else k * n, n))
        at += apart
    return total


@kernel
def clipping(norms, clip_norm):
    """The factor that brings a gradient down to a norm, of its tasks' sums of squares."""
    total = 0.0
    for q in range(norms.size):
        total += norms[q]
    norm = math.sqrt(total)
    return clip_norm / norm if norm > clip_norm else 1.0


@kernel
def share_in_average(decay, t):
    """The share of step t's parameters in the average of those of all steps so far.

    The average is m / (1 - decay^t) with m = decay m + (1 - decay) p: as if it had always been
    there, not begun at zero (the correction of Kingma and Ba, 2015, section 3). So it moves by
    this share of the way to p.
    """
    return (1.0 - decay) / (1.0 - decay**t) if decay > 0 else 0.0


@kernel
def _average(mean, params, share):
    for i in range(mean.size):
        mean[i] += share * (params[i] - mean[i])


@kernel
def update(task, tables, groups, weights, gradient, from_stored, hyper, factor, average, extras):
    """Update the parameters of one task, and the transposed copy of them.

    Parameters
    ----------
    task : (len(TASK_COLUMNS),)
    tables : Tables
    groups : (groups, len(GROUP_COLUMNS))
    weights : Weights
        Changed.
    gradient : the task's runs one behind the other, or the whole gradient in engine layout
    from_stored : bool
        Whether it is the latter.
    hyper : (HYPER,) what `optimizers.prepare` wrote
    factor : float
        What the gradient is multiplied by.
    average : float
        The share of this step's parameters in their average; 0 if there is none.
    extras : None, or an array if there may be a factor or an average
    """
    op, v = tables.ops[task[TASK_OP]], tables.head[H_LANES]
    runs, n, at, apart = owned(task, op, v)
    for k in range(runs):
        part = run(gradient, at if from_stored else k * n, n)
        group = groups[task[TASK_GROUP]]
        if extras is not None and factor != 1:
            shrink = gradient.dtype.type(factor)
            for i in range(n):
                part[i] *= shrink
        optimizers.update(tables.head[H_OPTIMIZER], weights, at, part, group, hyper)
        if extras is not None and average != 0:
            _average(
                run(weights.state, tables.head[H_AVERAGE] * weights.slot + at, n),
                run(weights.params, at, n),
                gradient.dtype.type(average),
            )
        if task[TASK_KIND] == WEIGHTS_TASK and op[MIRROR] >= 0:
            _transpose(
                weights.params, at, op[MIRROR], task[TASK_N_ROWS], task[TASK_ROW],
                op[COLUMNS], (task[TASK_PANEL] + k) * v, op[COLUMNS] * v, v,
            )  # fmt: skip
        at += apart
