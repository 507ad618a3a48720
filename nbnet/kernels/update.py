"""Phase 2b of a step: the optimizer's step for one task's parameters.

The transposed copy of the weights, which phase 1 reads on its way back, is refreshed while the tile
is still in cache.
"""

from __future__ import annotations

from nbnet.kernels import optimizers
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.gradient import owned
from nbnet.kernels.machine.moves import run, transpose_block
from nbnet.kernels.records import (
    COLUMNS,
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

__all__ = ["update"]


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


@kernel
def update(task, tables, groups, weights, gradient, from_stored, hyper):
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
    """
    op, v = tables.ops[task[TASK_OP]], tables.head[H_LANES]
    runs, n, at, apart = owned(task, op, v)
    for k in range(runs):
        part = run(gradient, at if from_stored else k * n, n)
        group = groups[task[TASK_GROUP]]
        optimizers.update(tables.head[H_OPTIMIZER], weights, at, part, group, hyper)
        if task[TASK_KIND] == WEIGHTS_TASK and op[MIRROR] >= 0:
            _transpose(
                weights.params, at, op[MIRROR], task[TASK_N_ROWS], task[TASK_ROW],
                op[COLUMNS], (task[TASK_PANEL] + k) * v, op[COLUMNS] * v, v,
            )  # fmt: skip
        at += apart
