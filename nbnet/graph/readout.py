"""Raw outputs in hand, read by a loss: what its link makes of them, and their mean loss.

Both are computed by the kernels that train and predict, on a network without parameters whose
output is its input. So a loss is written down once, and nothing further is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nbnet.graph.nodes import input as input_node
from nbnet.graph.outline import Outline
from nbnet.graph.plan import Plan
from nbnet.graph.session import Session
from nbnet.kernels.user import CustomLoss

__all__ = ["Readout"]


class _Through(Outline):
    """The network whose raw outputs are its features, run by the same code as another network."""

    def __init__(self, n_raw: int, like: Plan):
        super().__init__(input_node(n_raw))
        self.like = like

    def plan(self, dtype: Any, rows: int, **options: Any) -> Plan:
        plan = super().plan(dtype, rows, **options)
        return replace(plan, general=self.like.general, extras=self.like.extras)


class Readout:
    """The link and the mean loss of raw outputs of some rows.

    Parameters
    ----------
    y : ndarray of shape (N, T)
        Encoded targets, checked; their dtype is that of all computation.
    sample_weight : ndarray of shape (N,) or None
        In that dtype.
    n_raw : int
        R, the number of raw outputs.
    loss : str or CustomLoss
        A key of ``LOSSES``, or a loss of the user's.
    numbers : dict
        Hyperparameters of the loss, by name.
    like : Plan
        A plan of the network that the outputs are from, whose code is compiled already.
    """

    def __init__(
        self,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        n_raw: int,
        loss: str | CustomLoss,
        numbers: Mapping[str, float],
        like: Plan,
    ):
        self._network = _Through(n_raw, like)
        self._link = loss
        self._nothing = np.empty(0, dtype=y.dtype)
        self._raw = np.zeros((len(y), n_raw), dtype=y.dtype)
        options: dict[str, Any] = dict(numbers)
        self._session = Session(
            self._network,
            self._nothing,
            self._raw,
            y,
            sample_weight,
            loss=loss,
            optimizer=None,
            checked=True,
            **options,
        )

    def outputs(self, raw: np.ndarray) -> np.ndarray:
        """What the inverse link makes of raw outputs (N, R): bitwise what a prediction gives."""
        return self._network.run_forward(
            lambda plan: self._nothing, raw, self._raw.dtype, self._link
        )

    def loss(self, raw: np.ndarray) -> float:
        """The weighted mean of the rows' losses, without penalty."""
        self._raw[:] = raw
        value, _ = self._session.gradient()
        return value
