"""A minibatch step in two phases: rows, then parameters.

1. **Rows.** Each thread takes blocks of the batch's rows: gathers them from X, runs all ops
   forward, the loss, and all ops backward. Rows do not touch each other, and a block's
   activations stay in cache.
2. **Parameters.** Each thread takes tiles of the weight matrices: sums the tile of X^T D over the
   whole batch, adds the penalty, and lets the optimizer step on the spot. The gradient is never
   stored (unless the "optimizer" is the one that collects it), and the transposed copy which
   phase 1 reads is refreshed while the tile is still in cache.

a. Every number is computed by one thread, by the same machine code and in the same order whatever
   the number of threads; so results are bitwise the same for any number.
b. Threads are Python threads that run `train` with their own `tid` without the GIL; they meet in
   `barrier` twice a step. One thread runs the same code and never waits.
c. Nothing raises. `train` returns a status; a set stop flag ends all threads at the next op of a
   block, tile or barrier, so that Ctrl-C is answered at any size of data.
d. A row's loss and gradient are multiplied by its weight and by 1 / (sum of the batch's weights)
   here and nowhere else.
e. The buffers hold a limited number of rows. A larger batch goes through them in parts: each runs
   both phases, but as long as parts are to come, phase 2 only adds up the gradient.
"""

from __future__ import annotations

import math

import numpy as np

from nbnet.kernels._tile import DEPTH, ROWS, run, scatter_rows, transpose_block
from nbnet.kernels.barrier import barrier, stopped
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.layout import (
    BIAS,
    BIAS_TASK,
    COLUMNS,
    DELTA,
    H_BATCH,
    H_LANES,
    H_LOSS,
    H_OPTIMIZER,
    H_OUTPUT,
    H_PANEL,
    H_ROWS,
    H_SLOT,
    H_TARGETS,
    IN_0,
    INPUTS,
    MIRROR,
    NARROW_TASK,
    OUT,
    R_ALPHA,
    R_LEARNING_RATE,
    R_LOSS,
    R_ROWS,
    R_SETTING,
    R_STEP,
    TASK_KIND,
    TASK_N_ROWS,
    TASK_OP,
    TASK_PANEL,
    TASK_PANELS,
    TASK_ROW,
    VALUE,
    WEIGHTS,
    WEIGHTS_TASK,
    WIDTH,
)
from nbnet.kernels.losses import apply_inverse_link, value_and_gradient
from nbnet.kernels.matmul import (
    column_sums,
    narrow_weight_gradient,
    row_weight_gradient,
    weight_gradient,
)
from nbnet.kernels.ops import backward, data_row, forward
from nbnet.kernels.optimizers import GRADIENT, prepare, update

__all__ = [
    "BLOCK",
    "FINISHED",
    "NON_FINITE",
    "STOPPED",
    "TASK_ROWS",
    "predict",
    "train",
]

FINISHED, NON_FINITE, STOPPED = range(3)

BLOCK = 64  # rows a thread takes at a time
WHOLE_VECTORS = 16  # a multiple of the numbers in any processor's vector
TASK_ROWS = 64  # rows of a weight matrix a task takes at a time: with three panels, 12 KiB

# --- Phase 1: rows -----------------------------------------------------------------------------


@kernel
def _exchange(head, work, at, r0, rows, n, z, high, inward):
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
def _rows_loss(
    head, nodes, y, weights, order, first, last, r0, r1, scale, work, scratch, row_loss, setting,
    rare,
):  # fmt: skip
    """Weighted loss of each row, and its gradient at the output node."""
    targets = head[H_TARGETS]
    out = nodes[head[H_OUTPUT]]
    rows, n = r1 - r0, out[WIDTH]
    # A vectorised loop treats what is left over by other code, which may round differently; and
    # how many rows a block has depends on the number of threads.
    high = (rows + WHOLE_VECTORS - 1) // WHOLE_VECTORS * WHOLE_VECTORS
    z, target = run(scratch, 0, n * high), run(scratch, n * high, targets * high)
    at = (n + targets) * high
    value, weight = run(scratch, at, high), run(scratch, at + high, high)
    for r in range(high):
        row = data_row(order, first + r0 + r, last) if r < rows else -1
        weight[r] = 0 if row < 0 else (weights[row] if weights.size > 0 else 1)
        for t in range(targets):
            target[t * high + r] = y[max(row, 0) * targets + t]
    _exchange(head, work, out[VALUE], r0, rows, n, z, high, np.int64(1))
    value_and_gradient(
        head[H_LOSS], z, target, high, value, run(scratch, at + 2 * high, high), setting, rare
    )
    # Padding, or a row left out, has neither loss nor gradient, were they infinite.
    for r in range(rows):
        row_loss[r0 + r] = value[r] * weight[r] if weight[r] != 0 else 0
        weight[r] *= scale
    for c in range(n):
        column = run(z, c * high, high)
        for r in range(high):
            column[r] = column[r] * weight[r] if weight[r] != 0 else 0
    _exchange(head, work, out[DELTA], r0, rows, n, z, high, np.int64(0))


# --- Phase 2: parameters -----------------------------------------------------------------------


@kernel(reassociate=True)
def _add_penalty(gradient, params, l2):
    """``gradient += l2 * params``; returns the sum of squares of `params`."""
    total = params.dtype.type(0)
    for i in range(params.size):
        total += params[i] * params[i]
        gradient[i] += l2 * params[i]
    return total


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
def _sparse_gradient(v, work, delta, x, indices, indptr, order, first, last, gradient):
    """One panel of ``G = X^T D`` for CSR rows; that of D lies at `delta`."""
    for i in range(gradient.size):
        gradient[i] = 0
    for r in range(last - first):
        row = data_row(order, first + r, last)
        scatter_rows(x, indices, indptr[row], indptr[row + 1], work, delta + r * v, gradient, 0)


@kernel
def _over_parts(gradient, collected, begun, more):
    """Add up a run of the gradient over a batch's parts; after the last it is in `gradient`."""
    if more and begun:
        for i in range(gradient.size):
            collected[i] += gradient[i]
    elif more:
        for i in range(gradient.size):
            collected[i] = gradient[i]
    elif begun:
        for i in range(gradient.size):
            gradient[i] += collected[i]


@kernel
def _parameters(
    task, head, nodes, ops, x, indices, indptr, order, first, last, begun, more,
    l2, params, state, collected, work, scratch, hyper, general,
):  # fmt: skip
    """Gradient of one task, and after the batch's last part penalty and optimizer step.

    Returns the sum of squared weights, 0 if there is no penalty.
    """
    op, kind = ops[task[TASK_OP]], task[TASK_KIND]
    first_panel, panels = task[TASK_PANEL], task[TASK_PANELS]
    v, panel = head[H_LANES], head[H_PANEL]
    out = nodes[op[OUT]]
    delta = out[DELTA] + first_panel * panel
    rows = (last - first + DEPTH - 1) // DEPTH * DEPTH  # buffers hold zeros up to there
    # What the task owns: `runs` of n parameters, the first one `at`, `apart` from each other.
    runs, n, at, apart = 1, panels * v, op[BIAS] + first_panel * v, 0
    if kind == BIAS_TASK:
        for p in range(panels):
            column_sums(run(work, delta + p * panel, rows * v), v, run(scratch, p * v, v))
    elif kind == NARROW_TASK:
        n = panels * DEPTH * v
        at = op[WEIGHTS] + first_panel * DEPTH * v
        narrow_weight_gradient(
            work, nodes[op[IN_0], VALUE] + first_panel * panel, panel, panels, v,
            work, out[DELTA], out[WIDTH], rows // DEPTH, run(scratch, 0, n), work,
        )  # fmt: skip
    else:
        runs, n, apart = panels, task[TASK_N_ROWS] * v, op[INPUTS] * v
        at = op[WEIGHTS] + first_panel * apart + task[TASK_ROW] * v
        if kind == WEIGHTS_TASK and head[H_BATCH] == 1:
            row_weight_gradient(
                work, nodes[op[IN_0], VALUE], panel, task[TASK_ROW],
                task[TASK_ROW] + task[TASK_N_ROWS], v, work, delta, panels, scratch, n,
            )  # fmt: skip
        elif kind == WEIGHTS_TASK:
            weight_gradient(
                work, nodes[op[IN_0], VALUE], panel, task[TASK_ROW],
                task[TASK_ROW] + task[TASK_N_ROWS], v,
                work, delta, panels, rows // DEPTH, scratch, 0, n, work,
            )  # fmt: skip
        elif general is not None:
            _sparse_gradient(
                v, work, delta, x, indices, indptr, order, first, last, run(scratch, 0, n)
            )  # fmt: skip
    squares = 0.0
    for k in range(runs):
        params_run, gradient = run(params, at, n), run(scratch, k * n, n)
        _over_parts(gradient, run(collected, at, n), begun, more)
        if not more:
            if l2 != 0 and kind != BIAS_TASK:
                squares += _add_penalty(gradient, params_run, params.dtype.type(l2))
            update(head[H_OPTIMIZER], params_run, gradient, state, at, head[H_SLOT], hyper)
            if kind == WEIGHTS_TASK and op[MIRROR] >= 0 and head[H_OPTIMIZER] != GRADIENT:
                _transpose(
                    params, at, op[MIRROR], task[TASK_N_ROWS], task[TASK_ROW],
                    op[COLUMNS], (first_panel + k) * v, op[COLUMNS] * v, v,
                )  # fmt: skip
        at += apart
    return squares


# --- Entry points ------------------------------------------------------------------------------


@kernel(entry=True)
def train(
    tid, n_threads, head, nodes, ops, slopes, tasks, bounds, x, indices, indptr, y, weights, order,
    settings, rates, hyper, params, state, collected, work, scratch, row_loss, squares, general,
    rare, sync,
):  # fmt: skip
    """Thread `tid`'s share of an epoch: one step per consecutive slice of `order`.

    Parameters
    ----------
    tid, n_threads : int
    head : (len(HEAD),) int64
    nodes, ops, slopes : the plan; ``slopes[k]`` is the negative slope of op k
    tasks : (tasks, len(TASK_COLUMNS)) int64, phase 2
    bounds : int64; thread t of n has tasks bounds[n, t] to bounds[n, t + 1]
    x : (N * I,) or the CSR data
    indices, indptr : of a CSR X, else empty
    y : (N * T,) targets
    weights : (N,) or empty
    order : (M,) int64 rows of X
    settings : float64, the optimizer's
    rates : (len(RATES),) float64; thread 0 reports here
    hyper : (at least n_threads, HYPER)
    params : engine layout, the transposed weights behind it; changed
    state : engine layout, changed
    collected : engine layout, or empty if no batch has more rows than the buffers
    work : flat values and gradients of all nodes
    scratch : (at least n_threads, room for a task, a panel of a block, or the loss of a block)
    row_loss : (rows of the buffers,) float64
    squares : (tasks,) float64
    general : None if all ops are plain, else 1
    rare : None if the loss is plain, else 1
    sync : int64 flags, all zero at the start, the last one stops

    Returns
    -------
    int
        ``FINISHED``, ``NON_FINITE`` (a batch loss is; its step was not made) or ``STOPPED``.
    """
    batch = head[H_BATCH]
    tile = 1 if batch == 1 else ROWS
    my_scratch, my_hyper = scratch[tid], hyper[tid]
    t = rates[R_STEP]
    phase = 0
    for start in range(0, order.size, batch):
        stop = min(start + batch, order.size)
        total = float(stop - start)
        if weights.size > 0:
            total = 0.0
            for i in range(start, stop):
                total += weights[data_row(order, i, stop)]
        if total == 0.0:
            continue
        t += 1
        prepare(head[H_OPTIMIZER], rates[R_LEARNING_RATE], settings, t, my_hyper)

        loss = 0.0
        for first in range(start, stop, head[H_ROWS]):
            last = min(first + head[H_ROWS], stop)
            tiles = (last - first + tile - 1) // tile
            mine = tiles * (tid + 1) // n_threads * tile
            for r0 in range(tiles * tid // n_threads * tile, mine, BLOCK):
                r1 = min(r0 + BLOCK, mine)
                forward(
                    ops, slopes, head, nodes, work, r0, r1,
                    params, x, indices, indptr, order, first, last, sync, general, None,
                )  # fmt: skip
                _rows_loss(
                    head, nodes, y, weights, order, first, last, r0, r1, 1.0 / total,
                    work, my_scratch, row_loss, rates[R_SETTING], rare,
                )  # fmt: skip
                backward(ops, slopes, head, nodes, work, r0, r1, params, my_scratch, sync, general)
                if stopped(sync):
                    return STOPPED
            phase += 1
            if not barrier(sync, tid, n_threads, phase):
                return STOPPED

            part = 0.0
            for r in range(last - first):
                part += row_loss[r]
            loss += part / total
            if not math.isfinite(loss):
                if tid == 0:
                    rates[R_LOSS] = loss
                return NON_FINITE
            for q in range(bounds[n_threads, tid], bounds[n_threads, tid + 1]):
                squares[q] = _parameters(
                    tasks[q], head, nodes, ops, x, indices, indptr, order, first, last,
                    first > start, last < stop, rates[R_ALPHA] / total, params, state,
                    collected, work, my_scratch, my_hyper, general,
                )  # fmt: skip
                if stopped(sync):
                    return STOPPED
            phase += 1
            if not barrier(sync, tid, n_threads, phase):
                return STOPPED
        if tid == 0:
            penalty = 0.0
            for q in range(squares.size):
                penalty += squares[q]
            loss += 0.5 * rates[R_ALPHA] / total * penalty
            rates[R_LOSS] += loss * (stop - start)
            rates[R_ROWS] += stop - start
            rates[R_STEP] = t
    return FINISHED


@kernel(entry=True)
def predict(
    tid, n_threads, head, nodes, ops, slopes, x, indices, indptr, n_rows, link, params, work,
    scratch, out, order, general, sync,
):  # fmt: skip
    """Thread `tid`'s share of a forward pass: every n_threads-th block of rows.

    A block has as many rows as the head says. Parameters as in `train`, and

    n_rows : int
        N.
    link : int
        Code of the loss whose inverse link to apply, -1 for raw outputs.
    out : (N * R,) written
    order : empty
    """
    output, block = nodes[head[H_OUTPUT]], head[H_ROWS]
    n = output[WIDTH]
    tile = min(block, ROWS)
    r0 = tid * block  # of `work`, where this thread's block lies
    for start in range(tid * block, n_rows, n_threads * block):
        if stopped(sync):
            return STOPPED
        last = min(start + block, n_rows)
        r1 = r0 + (last - start + tile - 1) // tile * tile
        forward(
            ops, slopes, head, nodes, work, r0, r1,
            params, x, indices, indptr, order, start - r0, last, sync, general, 1,
        )  # fmt: skip
        rows = last - start
        z = run(scratch[tid], 0, n * rows)
        _exchange(head, work, output[VALUE], r0, rows, n, z, rows, np.int64(1))
        if link >= 0:
            apply_inverse_link(link, z, rows, run(scratch[tid], n * rows, rows))
        for c in range(n):
            for r in range(rows):
                out[(start + r) * n + c] = z[c * rows + r]
    return FINISHED
