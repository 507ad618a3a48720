"""The memory of a fit: parameters, optimizer state and buffers, in the engine's layout."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from nbnet.graph.arrays import (
    Samples,
    aligned_zeros,
    check_loss,
    check_targets,
    check_weights,
    frozen,
    row_of,
    take_numbers,
)
from nbnet.graph.nodes import Node
from nbnet.graph.outline import Outline, to_engine
from nbnet.kernels.entry import BLOCK, FINISHED, SMALLEST, apply, train
from nbnet.kernels.machine.vectors import ROWS
from nbnet.kernels.optimizers import GROUPS, HYPER, OPTIMIZERS, Group
from nbnet.kernels.records import HEAD, REPORT, STEP_COLUMNS, Setting
from nbnet.kernels.rows import scratch_for_rows
from nbnet.kernels.threads import Team
from nbnet.kernels.user import CustomLoss

__all__ = ["ROWS_AT_ONCE", "SEEDS", "Session"]

# Rows whose values and gradients are in memory at once; a larger batch is taken in parts.
ROWS_AT_ONCE = 2048

FEW = 3  # rows at which a gradient of the user's is checked
SEEDS = 2**62

_ALPHA = Setting("alpha", 0.0, 0.0, np.inf, closed=True)
_CLIP_NORM = Setting("clip_norm", 0.0, 0.0, np.inf)
_AVERAGE = Setting("average", 0.0, 0.0, 1.0, closed=True)


class Session:
    """Parameters, optimizer state and buffers of one fit.

    Parameters
    ----------
    network : Network
    params : (P,) float32 or float64 array
        Where to start; its dtype is that of all computation.
    X : (N, I) array or CSR
        Not copied if C-contiguous and of that dtype.
    y : (N,) or (N, T) array
    sample_weight : (N,) array, optional
    loss : str or CustomLoss
        A key of ``LOSSES``, or a loss of the user's, whose gradient is checked at a few rows when
        it is first used.
    optimizer : str or None, default="adam"
        A key of ``OPTIMIZERS``; None if only gradients are wanted.
    batch_size : int, optional
        All rows by default; not more than there are.
    alpha : float, default=0
        L2 penalty, as in `Network.loss_and_gradient`, with the batch's weights.
    slots : (S, P) array, optional
        Optimizer state to continue from; zeros by default.
    step : int, default=0
        Steps already made (Adam's t).
    clip_norm : float, optional
        The largest norm of a step's gradient, the penalty's included: a larger one is scaled down
        to it.
    average : float, default=0
        Decay of the exponential average of the parameters over the steps, in [0, 1); 0 for none.
    averaged : (P,) array, optional
        Average to continue from.
    seed : int, optional
        In [0, 2 ** 62): from it the masks of dropout follow, together with the step; None for no
        dropout.
    keep : tuple of Node, default=()
        Nodes to be read after a step.
    groups : dict of str to Group, optional
        Rows of ``GROUPS`` to replace.
    checked : bool, default=False
        Whether X, y and the weights were checked and have their dtype and shape; they are then not
        looked at again.
    **numbers : float, or sequence of float
        Of the loss (``Loss.settings``) and of the optimizer (``Optimizer.settings``).

    Attributes
    ----------
    n_samples : int
    plan : Plan
    work : (plan.n_work,) array
        Values and gradients of all nodes for the last batch.
    """

    def __init__(
        self,
        network: Outline,
        params: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        loss: str | CustomLoss,
        optimizer: str | None = "adam",
        batch_size: int | None = None,
        alpha: float = 0.0,
        slots: Any = None,
        step: int = 0,
        clip_norm: float | None = None,
        average: float = 0.0,
        averaged: Any = None,
        seed: int | None = None,
        keep: tuple[Node, ...] = (),
        groups: dict[str, Group] | None = None,
        checked: bool = False,
        **numbers: Any,
    ):
        loss_facts = check_loss(loss)
        optimizer_facts = None if optimizer is None else row_of(OPTIMIZERS, "optimizer", optimizer)
        n_slots = 0 if optimizer_facts is None else optimizer_facts.slots
        settings: dict[str, float] = {} if optimizer_facts is None else optimizer_facts.settings
        levels = loss_facts.levels(numbers)
        loss_numbers = take_numbers(loss_facts.settings, numbers)
        unknown = sorted(set(numbers) - set(settings))
        if unknown:
            raise TypeError(
                f"loss {loss!r} takes {[setting.name for setting in loss_facts.settings]}, "
                f"optimizer {optimizer!r} takes {sorted(settings)}, got {unknown}"
            )
        if batch_size is not None and (batch_size < 1 or batch_size != int(batch_size)):
            raise ValueError(f"batch_size must be an integer >= 1, got {batch_size!r}")
        alpha = _ALPHA.check(alpha)
        clip_norm = 0.0 if clip_norm is None else _CLIP_NORM.check(clip_norm)
        self._average = _AVERAGE.check(average)
        if seed is not None and not 0 <= seed < SEEDS:
            raise ValueError(f"seed must be an integer in [0, 2 ** 62), got {seed!r}")
        params = network.check_params(params)
        dtype = params.dtype
        self._network = network
        samples = Samples.of(X, network.n_features, dtype, checked)
        self.n_samples = samples.n
        if samples.n == 0:
            raise ValueError("X must have at least one row to learn from, got 0")
        if checked:
            targets, weights = y, sample_weight
        else:
            targets = check_targets(y, loss_facts, samples.n, network.n_outputs, dtype, levels)
            weights = check_weights(sample_weight, samples.n)
            if weights is not None and weights.sum() < SMALLEST:
                raise ValueError(
                    f"sample_weight must sum to at least {SMALLEST:.3g}, got {weights.sum():g}"
                )

        batch_size = samples.n if batch_size is None else min(int(batch_size), samples.n)
        self._batch_size = batch_size
        rows = min(batch_size, ROWS_AT_ONCE)
        self.plan = plan = network.plan(
            dtype, rows, keep=keep, sparse=samples.sparse, noise=seed is not None
        )
        self._team = Team(plan.operations * rows, plan.rows // ROWS, plan.operations * samples.n)
        # Whole batches, or None for all there are.
        self._rows_a_call = self._team.rows_a_call(plan.operations, batch_size)
        size = self._team.size
        self._report = np.zeros(len(REPORT))
        self._report[REPORT.index("step")] = step
        self._params = aligned_zeros(plan.n_engine + plan.n_mirror, dtype)
        plan.pack(params, self._params)
        room = n_slots + (self._average > 0)
        self._state = aligned_zeros(room * plan.n_engine, dtype)
        self._slots = self._state.reshape(room, plan.n_engine)[:n_slots]
        self._averaged = self._state[n_slots * plan.n_engine :]
        if averaged is not None and self._average > 0:
            plan.pack(network.check_params(averaged), self._averaged)
        if slots is not None:
            slots = np.asarray(slots)
            if slots.shape != (n_slots, network.n_params):
                raise ValueError(
                    f"slots must have shape {(n_slots, network.n_params)}, got {slots.shape}"
                )
            for slot, into in zip(slots, self._slots, strict=True):
                plan.pack(slot, into)
        n_scratch = plan.n_scratch
        if isinstance(loss, CustomLoss):
            n_targets = targets.shape[1]  # perhaps more than there are raw outputs
            n_scratch = max(n_scratch, scratch_for_rows(BLOCK, network.n_outputs, n_targets))
        whole = 1 if optimizer is None else 2 if clip_norm > 0 else 0
        self._stored = aligned_zeros(plan.n_engine if whole or rows < batch_size else 0, dtype)
        self.work = aligned_zeros(plan.n_work, dtype)
        head = plan.head(
            targets=targets.shape[1],
            loss=loss_facts.code,
            optimizer=0 if optimizer_facts is None else optimizer_facts.code,
            batch=batch_size,
            rows=rows,
            whole=whole,
            seed=0 if seed is None else seed,
            average=n_slots,
            loss_address=self._address_of(loss, params, X, targets, weights),
        )
        rows_of_groups = {**GROUPS, **(groups or {})}
        self._tables = (
            head,
            plan.nodes,
            plan.ops,
            plan.numbers,
            plan.tasks,
            plan.bounds(size),
            np.array([rows_of_groups[name] for name in GROUPS], dtype=np.float64),
        )
        self._data = (
            samples.values,
            samples.indices,
            samples.indptr,
            frozen(targets, dtype),
            frozen([] if weights is None else weights, dtype),
            loss_numbers,
            alpha,
        )
        self._settings = np.array([float(numbers.get(k, v)) for k, v in settings.items()])
        self._buffers = (
            self._settings,
            self._report,
            np.zeros((size, HYPER), dtype=dtype),
            self._params,
            self._state,
            self._stored,
        )
        extra = plan.extras is not None or loss_facts.extra
        wanted = extra or clip_norm > 0 or self._average > 0
        self._extras = np.array([clip_norm, self._average]) if wanted else None
        self._norms = np.zeros(len(plan.tasks) if wanted else 0)
        self._room = (
            self.work,
            aligned_zeros(size * n_scratch, dtype).reshape(size, -1),
            np.zeros(plan.rows),
            np.zeros(len(plan.tasks)),
            self._norms,
            plan.general,
            None if loss_facts.plain or loss_facts.extra else 1,
            self._extras,
        )

    def _address_of(
        self, loss: str | CustomLoss, params: np.ndarray, X: Any, targets: np.ndarray, weights: Any
    ) -> int:
        """Where kernels find the function of a loss of the user's, checked here; 0 for others."""
        if not isinstance(loss, CustomLoss):
            return 0
        self._loss = loss  # the address is good as long as it

        def look() -> tuple[np.ndarray, np.ndarray]:
            rows = np.arange(self.n_samples) if weights is None else np.flatnonzero(weights)
            rows = rows[:FEW]
            few = X.tocsr()[rows] if sparse.issparse(X) else np.asarray(X)[rows]
            engine = partial(to_engine, params)
            return self._network.run_forward(engine, few, params.dtype, None), targets[rows]

        if len(params):  # or no step follows
            loss.check(self._network.n_outputs, targets.shape[1], look)
        return loss.address(params.dtype)

    def epoch(self, order: np.ndarray, steps: Any) -> float:
        """One step for each consecutive slice of `batch_size` rows.

        Parameters
        ----------
        order : (M,) int64 array
            Rows of X in the order in which they are used; empty for none.
        steps : (steps, len(STEP_COLUMNS)) array, or float
            What the schedules say for each step; a number is the learning rate of all, without
            weight decay.

        Returns
        -------
        float
            Mean over the rows used of their batch's loss, penalty included, measured before the
            batch's step. Batches whose weights sum to zero are skipped. A non-finite batch loss
            ends the epoch before that step and is returned.
        """
        order = np.asarray(order)
        if order.ndim != 1 or (order.size and order.dtype.kind not in "iu"):
            raise ValueError(f"order must be a vector of integers, got {order!r}")
        order = frozen(order, np.int64)
        if order.size == 0:
            return 0.0
        if order.min() < 0 or order.max() >= self.n_samples:
            raise ValueError(
                f"order must hold rows in [0, {self.n_samples - 1}], "
                f"got {order.min()} to {order.max()}"
            )
        steps = _steps(steps, -(-order.size // self._batch_size))
        for name in ("loss", "rows"):
            self._report[REPORT.index(name)] = 0.0
        rows = self._rows_a_call or order.size
        for start in range(0, order.size, rows):
            part = order[start : start + rows]
            status = self._team.run(
                train,
                (
                    *self._tables,
                    *self._data,
                    part,
                    steps[start // self._batch_size :],
                    *self._buffers,
                    *self._room,
                ),
                self.plan.operations * part.size,
            )
            if status != FINISHED:
                break
        loss, rows = (self._report[REPORT.index(name)] for name in ("loss", "rows"))
        if not np.isfinite(loss):
            return float(loss)
        return float(loss / rows) if rows > 0 else 0.0

    def gradient(
        self, params: np.ndarray | None = None, order: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient (P,) of one batch, for ``optimizer=None``.

        Parameters
        ----------
        params : (P,) array, optional
            Where; by default the current parameters.
        order : (M,) int64 array, optional
            The batch's rows, not more than `batch_size`; all by default.

        Returns
        -------
        loss : float
        gradient : (P,) array
            Zero if all weights of the batch are; meaningless if the loss is not finite.
        """
        if self._tables[0][HEAD.index("whole")] != 1:
            raise ValueError("gradient needs optimizer=None")
        if params is not None:
            self.plan.pack(params, self._params)
        self._stored[:] = 0
        order = np.arange(self.n_samples) if order is None else order
        if len(order) > self._batch_size:
            raise ValueError(
                f"order must hold at most batch_size={self._batch_size} rows, got {len(order)}"
            )
        loss = self.epoch(order, 0.0)
        return loss, self.plan.unpack(self._stored)

    def apply(self, gradient: np.ndarray, step: Any) -> None:
        """Make one step of the optimizer by a gradient (P,) that was computed elsewhere.

        Parameters
        ----------
        gradient : (P,) array
            The penalty's included, as `gradient` gives it.
        step : (len(STEP_COLUMNS),) array, or float
            One row of the steps of `epoch`.
        """
        if self._tables[0][HEAD.index("whole")] == 1:
            raise ValueError("apply needs an optimizer")
        stored = aligned_zeros(self.plan.n_engine, self.plan.dtype)
        self.plan.pack(np.asarray(gradient), stored)
        settings, report, hyper, params, state, _ = self._buffers
        self._team.run(
            apply,
            (
                *self._tables, _steps(np.asarray(step, float)[np.newaxis, ...], 1), settings,
                report, hyper, params, state, stored, self._norms, self._extras,
            ),
            10.0 * stored.size,
        )  # fmt: skip

    def forward(self, X: Any, loss: str | CustomLoss | None = None) -> np.ndarray:
        """`Network.forward` with the current parameters, or their average if there is one."""
        engine = self._averaged if self._average > 0 else self._params
        return self._network.run_forward(
            lambda plan: self.outcome if plan.natural else engine, X, self.plan.dtype, loss
        )

    @property
    def averaged(self) -> np.ndarray | None:
        """The average of the parameters (P,) over the steps, a copy; None if there is none."""
        return self.plan.unpack(self._averaged) if self._average > 0 else None

    @property
    def outcome(self) -> np.ndarray:
        """What a model gets, a copy (P,): the average of the parameters, or else the current."""
        averaged = self.averaged
        return self.params if averaged is None else averaged

    @property
    def params(self) -> np.ndarray:
        """Current parameters (P,), a copy."""
        return self.plan.unpack(self._params)

    @property
    def slots(self) -> np.ndarray:
        """Current optimizer state (S, P), a copy."""
        return np.array([self.plan.unpack(slot) for slot in self._slots]).reshape(
            len(self._slots), self._network.n_params
        )

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._report[REPORT.index("step")])


def _steps(steps: Any, n: int) -> np.ndarray:
    """A row of ``STEP_COLUMNS`` for each of n steps; of a number, with dropout as it is."""
    steps = np.asarray(steps, dtype=np.float64)
    if steps.size == 1:
        table = np.zeros((n, len(STEP_COLUMNS)))
        table[:, STEP_COLUMNS.index("learning_rate")] = steps.item()
        table[:, STEP_COLUMNS.index("dropout")] = 1.0
        return table
    if steps.shape != (n, len(STEP_COLUMNS)):
        raise ValueError(f"steps must have shape {(n, len(STEP_COLUMNS))}, got {steps.shape}")
    return np.ascontiguousarray(steps)
