"""The outline of a network: its nodes, parameters and plans, and its outputs.

What a session and a network have in common.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.utils import check_random_state

from nbnet.graph.arrays import NO_ORDER, Samples, aligned_zeros, check_loss, n_targets_of
from nbnet.graph.nodes import Node, topological_order
from nbnet.graph.parameters import Parameter, parameters_of
from nbnet.graph.plan import Plan, make_plan
from nbnet.kernels.entry import BLOCK, predict
from nbnet.kernels.machine.vectors import ROWS
from nbnet.kernels.ops import OPS
from nbnet.kernels.records import HEAD
from nbnet.kernels.threads import Team
from nbnet.kernels.user import CustomLoss

__all__ = ["Outline", "to_engine"]


class Outline:
    """What a graph is to the engine; parameters and attributes as in `Network`."""

    def __init__(self, output: Node, output_gain: float | None = None):
        order = topological_order(output)
        self.output = output
        self.nodes = tuple(order)
        self.parameters = parameters_of(order, output_gain)
        self.n_features = next(node.width for node in order if node.op == "input")
        self.n_outputs = output.width
        self.n_params = self.parameters[-1].place.stop if self.parameters else 0
        self._forward_plans: dict[tuple[np.dtype, int, bool, bool], tuple[Plan, np.ndarray]] = {}
        self._operations = sum(2 * math.prod(p.shape) for p in self.parameters if len(p.shape) == 2)
        # Whether one row can be predicted by parameters in the natural layout.
        self._natural = all(OPS[node.op].natural or not OPS[node.op].owns for node in order)

    def plan(self, dtype: Any, rows: int, **options: Any) -> Plan:
        """A plan for this many rows, see `make_plan`."""
        return make_plan(self.output, dtype, rows, self.parameters, **options)

    def forward_plan(
        self, dtype: np.dtype, rows: int, sparse: bool, noise: bool = False
    ) -> tuple[Plan, np.ndarray]:
        """A plan without gradients and its head, kept: a few rows are predicted in less time."""
        natural = rows == 1 and not sparse and not noise and self._natural
        key = (dtype, 1 if natural else max(1, -(-rows // ROWS)) * ROWS, sparse, noise)
        if key not in self._forward_plans:
            plan = self.plan(*key[:2], training=False, sparse=sparse, natural=natural, noise=noise)
            self._forward_plans[key] = plan, plan.head(rows=1 if natural else BLOCK)
        return self._forward_plans[key]

    # --- Parameters

    def init(self, random_state: Any = None, dtype: Any = np.float64) -> np.ndarray:
        """Initial parameters (P,), uniform in +-sqrt(gain / (fan_in + fan_out)).

        Drawn in double precision, one parameter after the other: scikit-learn's order. (Glorot
        and Bengio, 2010, equation 16; fan_out counts units, not pieces.) Where a selu activation
        follows, weights are normal with variance 1 / fan_in, and biases 0. The weights of a
        layer_norm node are 1, its biases 0.
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        rng = check_random_state(random_state)
        params = np.empty(self.n_params, dtype=dtype)
        for parameter in self.parameters:
            if parameter.initial is not None:
                params[parameter.place] = parameter.initial
                continue
            if parameter.deviation is None:
                drawn = rng.uniform(-parameter.bound, parameter.bound, parameter.shape)
            else:
                drawn = rng.normal(0.0, parameter.deviation, parameter.shape)
            params[parameter.place] = drawn.ravel()
        return params

    def views(self, params: np.ndarray) -> list[np.ndarray]:
        """The arrays of all `parameters` as views of a flat vector (P,)."""
        return [params[p.place].reshape(p.shape) for p in self.parameters]

    def _of_role(self, role: str) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.role == role]

    def pack(
        self, coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], dtype: Any = None
    ) -> np.ndarray:
        """One flat vector (P,) from the weights and the biases of all nodes that have some."""
        arrays: dict[int, np.ndarray] = {}
        for what, role, given in (("coefs", "weights", coefs), ("intercepts", "bias", intercepts)):
            owned = self._of_role(role)
            if len(given) != len(owned):
                raise ValueError(f"{what} must have {len(owned)} entries, got {len(given)}")
            for i, (parameter, array) in enumerate(zip(owned, given, strict=True)):
                array = np.asarray(array)
                if array.shape != parameter.shape:
                    raise ValueError(
                        f"{what}[{i}] must have shape {parameter.shape}, got {array.shape}"
                    )
                arrays[parameter.start] = array.ravel()
        if dtype is None:
            dtype = np.result_type(np.float32, *arrays.values())
        ordered = [arrays[parameter.start] for parameter in self.parameters]
        return np.concatenate(ordered).astype(dtype, copy=False)

    def unpack(
        self, params: np.ndarray, copy: bool = True
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weights and biases, one each per node that has some; without `copy` views of `params`."""
        views = self.views(params.copy() if copy else params)
        roles = [parameter.role for parameter in self.parameters]
        coefs, biases = (
            [view for view, role in zip(views, roles, strict=True) if role == wanted]
            for wanted in ("weights", "bias")
        )
        return coefs, biases

    def check_params(self, params: Any) -> np.ndarray:
        """Parameters (P,) as an array of float32 or float64."""
        params = np.asarray(params)
        if params.dtype not in (np.float32, np.float64):
            params = params.astype(np.float64)
        if params.shape != (self.n_params,):
            raise ValueError(f"params must have shape ({self.n_params},), got {params.shape}")
        return params

    # --- Outputs

    def run_forward(
        self,
        engine: Callable[[Plan], np.ndarray],
        X: Any,
        dtype: np.dtype,
        loss: str | CustomLoss | None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Raw outputs (N, R), or what the inverse link of `loss` makes of them.

        `engine` gives the parameters in the layout of a plan. With a `seed` there are masks of
        dropout.
        """
        link, pinned = -1, False
        if loss is not None:
            row = check_loss(loss)
            n_targets_of(row, self.n_outputs)  # or it has no distribution with such parameters
            link, pinned = row.link_code, row.pinned
        samples = Samples.of(X, self.n_features, dtype)
        operations = self._operations * samples.n
        team = Team(operations, -(-samples.n // BLOCK), operations)
        noise = seed is not None
        rows = min(samples.n, team.size * BLOCK)
        plan, head = self.forward_plan(dtype, rows, samples.sparse, noise)
        if noise:
            head = head.copy()  # another thread may predict with another seed
            head[HEAD.index("seed")] = seed
        out = np.empty(samples.n * self.n_outputs, dtype=dtype)
        team.run(
            predict,
            (
                head,
                plan.nodes,
                plan.ops,
                plan.numbers,
                samples.values,
                samples.indices,
                samples.indptr,
                samples.n,
                link,
                engine(plan),
                aligned_zeros(plan.n_work, dtype),
                aligned_zeros(team.size * plan.n_scratch, dtype).reshape(team.size, -1),
                out,
                NO_ORDER,
                plan.general,
                plan.extras,
            ),
            operations,
        )
        out = out.reshape(samples.n, self.n_outputs)
        return softmax(np.pad(out, ((0, 0), (1, 0))), axis=1) if pinned else out


def to_engine(params: np.ndarray, plan: Plan) -> np.ndarray:
    """Parameters (P,) in the layout of a plan."""
    if plan.natural:
        return params if params.flags.carray else np.require(params, requirements=["C", "A", "W"])
    engine = aligned_zeros(plan.n_engine, plan.dtype)
    plan.pack(params, engine)
    return engine
