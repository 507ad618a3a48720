"""The doors to the compiled world: what Python calls.

A minibatch step has two phases, whatever the depth of the network.

1. **Rows** (`rows`). Each thread takes blocks of the batch's rows: gathers them from X, runs all
   ops forward, the loss, and all ops backward.
2. **Parameters.** Each thread takes tiles of the weight matrices: sums the tile of X^T D over the
   whole batch and adds the penalty (`gradient`), then lets the optimizer step on the spot
   (`update`). The gradient is stored only where all of it is wanted before anything is updated.

a. Every number is computed by one thread, by the same machine code and in the same order whatever
   the number of threads; so results are bitwise the same for any number.
b. Threads are Python threads that run the same door with their own `tid` without the GIL; they meet
   in `barrier` twice a step. One thread runs the same code and never waits.
c. Nothing raises. A door returns a status; a set stop flag ends all threads at the next op of a
   block, tile or barrier, so that Ctrl-C is answered at any size of data.
d. To clip a gradient by its norm, threads meet a third time: all of it must be there before the
   first update.
e. The buffers hold a limited number of rows. A larger batch goes through them in parts: each runs
   both phases, but as long as parts are to come, phase 2 only adds up the gradient.
f. To learn and to compute a gradient alone is one door: its two halves would compile twice.
"""

from __future__ import annotations

import math

import numpy as np

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.gradient import gradient
from nbnet.kernels.machine.barrier import barrier, stopped
from nbnet.kernels.machine.vectors import ROWS
from nbnet.kernels.ops import backward, data_row, forward
from nbnet.kernels.optimizers import prepare
from nbnet.kernels.records import (
    E_AVERAGE,
    E_CLIP_NORM,
    H_BATCH,
    H_OPTIMIZER,
    H_ROWS,
    H_SEED,
    H_SLOT,
    H_WHOLE,
    R_LOSS,
    R_ROWS,
    R_STEP,
    S_DROPOUT,
    Noise,
    Rows,
    Tables,
    Weights,
)
from nbnet.kernels.rows import loss_of_rows, outputs_of_rows
from nbnet.kernels.update import clipping, share_in_average, sum_of_squares, update

__all__ = ["BLOCK", "FINISHED", "NON_FINITE", "SMALLEST", "STOPPED", "apply", "predict", "train"]

FINISHED, NON_FINITE, STOPPED = range(3)

# The reciprocal of a smaller sum of weights is infinite.
SMALLEST = float(np.finfo(np.float64).tiny)

BLOCK = 64  # rows a thread takes at a time


@kernel(entry=True)
def train(
    tid, n_threads, head, nodes, ops, numbers, tasks, bounds, groups, x, indices, indptr, y,
    weights, loss_numbers, alpha, order, steps, settings, report, hyper, params, state, stored,
    work, scratch, losses, squares, norms, general, rare, extras, sync,
):  # fmt: skip
    """Thread `tid`'s share of an epoch: one step per consecutive slice of `order`.

    Parameters
    ----------
    tid, n_threads : int
    head : (len(HEAD),) int64
    nodes, ops, numbers : the plan, see `Tables`
    tasks : (tasks, len(TASK_COLUMNS)) int64, phase 2
    bounds : int64; thread t of n has tasks bounds[n, t] to bounds[n, t + 1]
    groups : (groups, len(GROUP_COLUMNS)) float64
    x : (N * I,) or the CSR data
    indices, indptr : of a CSR X, else empty
    y : (N * T,) targets
    weights : (N,) or empty
    loss_numbers : (at least NUMBERS,) float64
    alpha : float64
        Strength of the L2 penalty.
    order : (M,) int64 rows of X
    steps : (steps, len(STEP_COLUMNS)) float64, a row for each slice
    settings : float64, those of the optimizer; empty if no update follows
    report : (len(REPORT),) float64; thread 0 reports here
    hyper : (at least n_threads, HYPER)
    params : engine layout, the transposed weights behind it; changed
    state : engine layout, changed
    stored : engine layout, or empty if no gradient is stored and no batch has more rows than the
        buffers
    work : flat values and gradients of all nodes
    scratch : (at least n_threads, room for a task, a panel of a block, or the loss of a block)
    losses : (rows of the buffers,) float64
    squares, norms : (tasks,) float64
    general : None if all ops are plain or extra, else 1
    rare : None if the loss is plain or extra, else 1
    extras : None, or (len(EXTRAS),) float64 if one of these is wanted or something is extra
    sync : int64 flags, all zero at the start, the last one stops

    Returns
    -------
    int
        ``FINISHED``, ``NON_FINITE`` (a batch loss is; its step was not made) or ``STOPPED``.
    """
    batch = head[H_BATCH]
    tile = 1 if batch == 1 else ROWS
    tables = Tables(head, nodes, ops, numbers)
    parameters = Weights(params, state, stored, head[H_SLOT])
    my_scratch, my_hyper = scratch[tid], hyper[tid]
    t = report[R_STEP]
    phase, average = 0, 0.0
    for start in range(0, order.size, batch):
        stop = min(start + batch, order.size)
        total = float(stop - start)
        if weights.size > 0:
            total = 0.0
            for i in range(start, stop):
                total += weights[data_row(order, i, stop)]
        if total < SMALLEST:
            continue
        t += 1
        step = steps[start // batch]
        noise = Noise(head[H_SEED], np.int64(t), start, step[S_DROPOUT])
        if head[H_WHOLE] != 1:
            prepare(head[H_OPTIMIZER], step, settings, t, my_hyper)
        if extras is not None:
            average = share_in_average(extras[E_AVERAGE], t)

        loss = 0.0
        for first in range(start, stop, head[H_ROWS]):
            last = min(first + head[H_ROWS], stop)
            rows = Rows(x, indices, indptr, order, first, last)
            tiles = (last - first + tile - 1) // tile
            mine = tiles * (tid + 1) // n_threads * tile
            for r0 in range(tiles * tid // n_threads * tile, mine, BLOCK):
                r1 = min(r0 + BLOCK, mine)
                forward(tables, rows, work, r0, r1, params, sync, noise, general, extras, None)
                loss_of_rows(
                    tables, rows, y, weights, r0, r1, 1.0 / total,
                    work, my_scratch, losses, loss_numbers, rare, extras,
                )  # fmt: skip
                backward(
                    tables, rows, work, r0, r1, params, my_scratch, sync, noise, general, extras
                )
                if stopped(sync):
                    return STOPPED
            phase += 1
            if not barrier(sync, tid, n_threads, phase):
                return STOPPED

            part = 0.0
            for r in range(last - first):
                part += losses[r]
            loss += part / total
            if not math.isfinite(loss):
                if tid == 0:
                    report[R_LOSS] = loss
                return NON_FINITE
            for q in range(bounds[n_threads, tid], bounds[n_threads, tid + 1]):
                squares[q] = gradient(
                    tasks[q], tables, rows, first > start, last < stop, alpha / total, groups,
                    parameters, work, my_scratch, general, extras,
                )  # fmt: skip
                if last == stop and head[H_WHOLE] == 0:
                    update(
                        tasks[q], tables, groups, parameters, my_scratch, False, my_hyper,
                        1.0, average, extras,
                    )  # fmt: skip
                if extras is not None and last == stop and head[H_WHOLE] == 2:
                    norms[q] = sum_of_squares(tasks[q], tables, my_scratch, False)
                if stopped(sync):
                    return STOPPED
            phase += 1
            if not barrier(sync, tid, n_threads, phase):
                return STOPPED
        if extras is not None and head[H_WHOLE] == 2:
            factor = clipping(norms, extras[E_CLIP_NORM])
            for q in range(bounds[n_threads, tid], bounds[n_threads, tid + 1]):
                update(
                    tasks[q], tables, groups, parameters, stored, True, my_hyper,
                    factor, average, extras,
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
            loss += 0.5 * alpha / total * penalty
            report[R_LOSS] += loss * (stop - start)
            report[R_ROWS] += stop - start
            report[R_STEP] = t
    return FINISHED


@kernel(entry=True)
def apply(
    tid, n_threads, head, nodes, ops, numbers, tasks, bounds, groups, step, settings, report, hyper,
    params, state, stored, norms, extras, sync,
):  # fmt: skip
    """Thread `tid`'s share of an update by a gradient that is there already.

    Parameters as in `train`, and

    step : (1, len(STEP_COLUMNS)) float64
    stored : engine layout, the gradient
    """
    tables = Tables(head, nodes, ops, numbers)
    parameters = Weights(params, state, stored, head[H_SLOT])
    t = report[R_STEP] + 1
    prepare(head[H_OPTIMIZER], step[0], settings, t, hyper[tid])
    factor, average, phase = 1.0, 0.0, 1
    if extras is not None:
        average = share_in_average(extras[E_AVERAGE], t)
        if extras[E_CLIP_NORM] > 0:
            for q in range(bounds[n_threads, tid], bounds[n_threads, tid + 1]):
                norms[q] = sum_of_squares(tasks[q], tables, stored, True)
            if not barrier(sync, tid, n_threads, phase):
                return STOPPED
            phase += 1
            factor = clipping(norms, extras[E_CLIP_NORM])
    for q in range(bounds[n_threads, tid], bounds[n_threads, tid + 1]):
        update(
            tasks[q], tables, groups, parameters, stored, True, hyper[tid],
            factor, average, extras,
        )  # fmt: skip
        if stopped(sync):
            return STOPPED
    if not barrier(sync, tid, n_threads, phase):
        return STOPPED
    if tid == 0:
        report[R_STEP] = t
    return FINISHED


@kernel(entry=True)
def predict(
    tid, n_threads, head, nodes, ops, numbers, x, indices, indptr, n_rows, link, params, work,
    scratch, out, order, general, extras, sync,
):  # fmt: skip
    """Thread `tid`'s share of a forward pass: every n_threads-th block of rows.

    A block has as many rows as the head says. Parameters as in `train`, and

    n_rows : int
        N.
    link : int
        Code of the loss whose inverse link to apply, -1 for raw outputs.
    out : (N * R,) written
    order : empty
    extras : None, or 1 if something is extra
    """
    tables = Tables(head, nodes, ops, numbers)
    block = head[H_ROWS]
    tile = min(block, ROWS)
    noise = Noise(head[H_SEED], np.int64(0), np.int64(0), 1.0)
    r0 = tid * block  # of `work`, where this thread's block lies
    for start in range(tid * block, n_rows, n_threads * block):
        if stopped(sync):
            return STOPPED
        last = min(start + block, n_rows)
        r1 = r0 + (last - start + tile - 1) // tile * tile
        rows = Rows(x, indices, indptr, order, start - r0, last)
        forward(tables, rows, work, r0, r1, params, sync, noise, general, extras, 1)
        outputs_of_rows(tables, work, r0, start, last - start, link, scratch[tid], out)
    return FINISHED
