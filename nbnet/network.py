"""Networks: outputs and gradients of a graph, and the engine room of a fit.

`Network` is stateless: parameters come in and go out as one flat vector (P,), W0, b0, W1, b1, ...
`Trainer` holds what one fit needs between epochs, in the engine's layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.utils import check_random_state, gen_batches

from nbnet.kernels._tile import ROWS, VECTOR_BYTES
from nbnet.kernels.layout import RATES
from nbnet.kernels.losses import LOSSES, Loss
from nbnet.kernels.optimizers import HYPER, OPTIMIZERS
from nbnet.kernels.step import BLOCK, FINISHED, predict, train
from nbnet.kernels.threads import Team
from nbnet.nodes import Node, topological_order
from nbnet.plan import Plan, make_plan, parameter_blocks

if TYPE_CHECKING:
    from nbnet.drawing import Drawing

__all__ = ["Network", "Trainer"]

# Rows whose values and gradients are in memory at once; a larger batch is taken in parts.
_ROWS_AT_ONCE = 2048


def _aligned_zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin on a vector's boundary: no load crosses a cache line."""
    dtype = np.dtype(dtype)
    spare = VECTOR_BYTES // dtype.itemsize
    buffer = np.zeros(size + spare, dtype=dtype)
    address = buffer.__array_interface__["data"][0]  # half the time of buffer.ctypes.data
    skip = (-address % VECTOR_BYTES) // dtype.itemsize
    return buffer[skip : skip + size]


def _frozen(array: Any, dtype: Any) -> np.ndarray:
    """Flat, contiguous, read-only: one type for the compiler, whatever the user's array is.

    Copies only if dtype or layout do not fit.
    """
    fits = isinstance(array, np.ndarray) and array.dtype == dtype and array.flags.carray
    if not fits:
        array = np.require(array, dtype=dtype, requirements=["C", "A"])
    flat = array.reshape(-1).view(np.ndarray)
    flat.flags.writeable = False
    return flat


# What a kernel gets where there is nothing.
_NO_INDICES, _NO_ORDER = _frozen([], np.int32), _frozen([], np.int64)


def _row_of(table: dict[str, Any], parameter: str, name: Any) -> Any:
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{parameter} must be one of {sorted(table)}, got {name!r}")
    return table[name]


@dataclass(slots=True)
class _Samples:
    """X as kernels see it."""

    values: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n: int
    sparse: bool

    @classmethod
    def of(cls, X: Any, n_features: int, dtype: np.dtype) -> _Samples:
        if not sparse.issparse(X):
            X = np.asarray(X)
        if X.dtype.kind not in "fiub":
            raise ValueError(f"X must hold real numbers, got dtype {X.dtype}")
        if X.ndim != 2 or X.shape[1] != n_features:
            raise ValueError(f"X must have shape (n_samples, {n_features}), got {X.shape}")
        if sparse.issparse(X):
            X = X.tocsr()
            X.check_format(full_check=True)  # kernels trust indices
            return cls(
                _frozen(X.data, dtype),
                _frozen(X.indices, np.int32),
                _frozen(X.indptr, np.int64),
                X.shape[0],
                True,
            )
        return cls(_frozen(X, dtype), _NO_INDICES, _NO_ORDER, X.shape[0], False)


def _counted(row: Loss, n_outputs: int) -> int:
    """The number of targets (classes) of a loss on so many raw outputs."""
    counted = row.n_targets(n_outputs)
    if counted == 0:
        raise ValueError(
            f"loss={row.name!r} needs {row.n_raw(1)} raw outputs for one target, {row.n_raw(2)} "
            f"for two, {row.n_raw(3)} for three, and so on; the network has {n_outputs}"
        )
    return counted


def _targets(y: Any, row: Loss, n: int, n_outputs: int, dtype: np.dtype) -> np.ndarray:
    """Targets (N, T), checked against the loss."""
    y = np.asarray(y)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must hold real numbers, got dtype {y.dtype}")
    counted = _counted(row, n_outputs)
    n_targets = 1 if row.integer_targets else counted
    if y.ndim == 1:
        y = y[:, None]
    if y.shape != (n, n_targets):
        raise ValueError(
            f"y must have shape ({n}, {n_targets}) for loss={row.name!r} and {n_outputs} raw "
            f"outputs, got {y.shape}"
        )
    high = counted - 1 if row.integer_targets else row.y_high
    valid = np.isfinite(y) & (y >= row.y_low) & (y <= high)
    if row.integer_targets:
        valid &= y == np.floor(y)
    if not valid.all():
        kind = "integers" if row.integer_targets else "finite numbers"
        raise ValueError(
            f"y must hold {kind} in [{row.y_low:g}, {high:g}] for loss={row.name!r}, "
            f"got {y[~valid][0]!r}"
        )
    with np.errstate(over="ignore"):
        cast = y.astype(dtype, copy=False)
    if not np.isfinite(cast).all():
        raise ValueError(f"y must be finite in {dtype}, got {y[~np.isfinite(cast)][0]!r}")
    return cast


def _check_number(parameter: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{parameter} must be a number, got {value!r}")


def _setting(row: Loss, settings: dict[str, Any]) -> float:
    """Take what the loss is told out of `settings`, checked."""
    if row.setting is None:
        return 0.0
    value = settings.pop(row.setting.name, row.setting.default)
    _check_number(row.setting.name, value)
    if not row.setting.low < float(value) < row.setting.high:
        raise ValueError(
            f"{row.setting.name} must lie between {row.setting.low:g} and {row.setting.high:g}, "
            f"both excluded, got {value!r}"
        )
    return float(value)


def _weights(sample_weight: Any, n: int) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"sample_weight must hold real numbers, got dtype {weights.dtype}")
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), got {weights.shape}")
    valid = np.isfinite(weights) & (weights >= 0)
    if not valid.all():
        raise ValueError(f"sample_weight must be finite and >= 0, got {weights[~valid][0]!r}")
    return weights


class Network:
    """The function that the graph ending in `output` computes.

    Parameters
    ----------
    output : Node
        Its last node; its columns are the raw outputs.
    output_gain : float, optional
        Initialisation gain of blocks that no activation follows (see
        `nbnet.plan.parameter_blocks`).

    Attributes
    ----------
    n_features : int
        I.
    n_outputs : int
        R.
    n_params : int
        P.
    nodes : tuple of Node
        All nodes in topological order, each after its inputs, the output last.
    blocks : tuple of ParameterBlock
        One for each dense or maxout node, in that order.
    """

    def __init__(self, output: Node, output_gain: float | None = None):
        order = topological_order(output)
        self.output = output
        self.nodes = tuple(order)
        self.blocks = parameter_blocks(order, output_gain)
        self.n_features = next(node.width for node in order if node.op == "input")
        self.n_outputs = output.width
        self.n_params = self.blocks[-1].bias.stop if self.blocks else 0
        self._forward_plans: dict[tuple[np.dtype, int, bool], tuple[Plan, np.ndarray]] = {}
        self._networks_below: dict[int, tuple[Network, np.ndarray]] = {}
        self._has_maxout = any(node.op == "maxout" for node in order)

    def describe(self, dtype: Any = np.float64, rows: int = BLOCK) -> str:
        """A table of ops, parameter blocks and buffers with names, shapes and offsets."""
        return self._plan(dtype, rows).describe()

    def _plan(self, dtype: Any, rows: int, **options: Any) -> Plan:
        return make_plan(self.output, dtype, rows, self.blocks, **options)

    def _forward_plan(self, dtype: np.dtype, rows: int, sparse: bool) -> tuple[Plan, np.ndarray]:
        """A plan without gradients and its head, kept: a few rows are predicted in less time."""
        natural = rows == 1 and not sparse and not self._has_maxout
        key = (dtype, 1 if natural else max(1, -(-rows // ROWS)) * ROWS, sparse)
        if key not in self._forward_plans:
            plan = self._plan(*key[:2], training=False, sparse=sparse, natural=natural)
            self._forward_plans[key] = plan, plan.head(rows=1 if natural else BLOCK)
        return self._forward_plans[key]

    # --- Parameters

    def init(self, random_state: Any = None, dtype: Any = np.float64) -> np.ndarray:
        """Initial parameters (P,), uniform in +-sqrt(gain / (fan_in + fan_out)).

        Drawn in double precision, block by block, weights then bias: scikit-learn's order. (Glorot
        and Bengio, 2010, equation 16; fan_out counts units, not pieces.)
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        rng = check_random_state(random_state)
        params = np.empty(self.n_params, dtype=dtype)
        for block in self.blocks:
            bound = np.sqrt(block.gain / (block.fan_in + block.units))
            shape = (block.fan_in, block.columns)
            params[block.weights] = rng.uniform(-bound, bound, shape).ravel()
            params[block.bias] = rng.uniform(-bound, bound, block.columns)
        return params

    def pack(
        self, coefs: Sequence[np.ndarray], intercepts: Sequence[np.ndarray], dtype: Any = None
    ) -> np.ndarray:
        """One flat vector (P,) from a weight matrix and a bias per block."""
        if len(coefs) != len(self.blocks) or len(intercepts) != len(self.blocks):
            raise ValueError(
                f"coefs and intercepts must have {len(self.blocks)} entries, "
                f"got {len(coefs)} and {len(intercepts)}"
            )
        arrays = []
        for i, block in enumerate(self.blocks):
            weights, bias = np.asarray(coefs[i]), np.asarray(intercepts[i])
            shape = (block.fan_in, block.columns)
            if weights.shape != shape or bias.shape != shape[1:]:
                raise ValueError(
                    f"coefs[{i}] and intercepts[{i}] must have shapes {shape} and {shape[1:]}, "
                    f"got {weights.shape} and {bias.shape}"
                )
            arrays += [weights.ravel(), bias]
        if dtype is None:
            dtype = np.result_type(np.float32, *arrays)
        return np.concatenate(arrays).astype(dtype, copy=False)

    def unpack(
        self, params: np.ndarray, copy: bool = True
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Weight matrices and biases, one each per block; without `copy` views of `params`."""
        params = params.copy() if copy else params
        coefs = [params[b.weights].reshape(b.fan_in, b.columns) for b in self.blocks]
        return coefs, [params[b.bias] for b in self.blocks]

    def _check_params(self, params: Any) -> np.ndarray:
        params = np.asarray(params)
        if params.dtype not in (np.float32, np.float64):
            params = params.astype(np.float64)
        if params.shape != (self.n_params,):
            raise ValueError(f"params must have shape ({self.n_params},), got {params.shape}")
        return params

    # --- Outputs

    def forward(
        self, params: Any, X: Any, loss: str | None = None, *, node: Node | str | None = None
    ) -> np.ndarray:
        """Raw outputs (N, R) in the dtype of `params`.

        Parameters
        ----------
        params : (P,) array
        X : (N, I) array or CSR
        loss : str, optional
            Apply this loss's inverse link: probabilities for the cross-entropies (a pinned class
            included), the parameters of the output distribution for others.
        node : Node or str, optional
            Return the values (N, width) of this node of the network, or of the node with this
            name, instead.
        """
        params = self._check_params(params)
        if node is not None:
            if loss is not None:
                raise ValueError(f"loss must be None where a node is asked for, got {loss!r}")
            below, at = self._below(self._find("node", node))
            return below.forward(params[at], X)
        return self._run_forward(partial(_to_engine, params), X, params.dtype, loss)

    def _run_forward(
        self,
        engine: Callable[[Plan], np.ndarray],
        X: Any,
        dtype: np.dtype,
        loss: str | None,
    ) -> np.ndarray:
        link, pinned = -1, False
        if loss is not None:
            row = _row_of(LOSSES, "loss", loss)
            _counted(row, self.n_outputs)  # or it has no distribution with such parameters
            link, pinned = row.code, row.pinned
        samples = _Samples.of(X, self.n_features, dtype)
        operations = sum(2 * b.fan_in * b.columns for b in self.blocks) * samples.n
        team = Team(operations, -(-samples.n // BLOCK), operations)
        plan, head = self._forward_plan(dtype, min(samples.n, team.size * BLOCK), samples.sparse)
        out = np.empty(samples.n * self.n_outputs, dtype=dtype)
        team.run(
            predict,
            (
                head,
                plan.nodes,
                plan.ops,
                plan.slopes,
                samples.values,
                samples.indices,
                samples.indptr,
                samples.n,
                link,
                engine(plan),
                _aligned_zeros(plan.n_work, dtype),
                _aligned_zeros(team.size * plan.n_scratch, dtype).reshape(team.size, -1),
                out,
                _NO_ORDER,
                plan.general,
            ),
            operations,
        )
        out = out.reshape(samples.n, self.n_outputs)
        return softmax(np.pad(out, ((0, 0), (1, 0))), axis=1) if pinned else out

    def _below(self, node: Node) -> tuple[Network, np.ndarray]:
        """The network that ends in `node`, and where its parameters lie in those of this one."""
        if id(node) not in self._networks_below:
            below = Network(node)
            starts = {id(n): b.start for n, b in zip(self._owners(), self.blocks, strict=True)}
            at = [np.empty(0, dtype=np.int64)]
            for owner, block in zip(below._owners(), below.blocks, strict=True):
                at.append(np.arange(block.start, block.bias.stop) - block.start + starts[id(owner)])
            self._networks_below[id(node)] = below, np.concatenate(at)
        return self._networks_below[id(node)]

    def _owners(self) -> list[Node]:
        """The nodes that have parameters, one for each block."""
        return [node for node in self.nodes if node.op in ("dense", "maxout")]

    # --- Gradients

    def objective(
        self, X: Any, y: Any, *, loss: str, alpha: float = 0.0, sample_weight: Any = None,
        dtype: Any = np.float64, **setting: Any,
    ) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:  # fmt: skip
        """The function from params (P,) to loss and gradient (P,) on fixed data.

        Parameters as in `loss_and_gradient`; what depends on the data alone is done once.
        """
        start = np.zeros(self.n_params, dtype=dtype)
        trainer = Trainer(
            self, start, X, y, sample_weight,
            loss=loss, alpha=alpha, optimizer="gradient", **setting,
        )  # fmt: skip
        return trainer.loss_and_gradient

    def loss_and_gradient(
        self,
        params: Any,
        X: Any,
        y: Any,
        *,
        loss: str = "half_squared_error",
        alpha: float = 0.0,
        sample_weight: Any = None,
        **setting: Any,
    ) -> tuple[float, np.ndarray]:
        """Loss and its gradient with respect to all parameters.

        ``sum_i w_i l_i / sum_i w_i + alpha / 2 * ||W||^2 / sum_i w_i``: the weighted mean of the
        rows' losses and an L2 penalty on weights, not biases.

        Parameters
        ----------
        params : (P,) array
        X : (N, I) array or CSR
        y : (N,) or (N, T) array
            Class indices for ``"softmax_cross_entropy"``.
        loss : str
            A key of ``LOSSES``.
        alpha : float, default=0
        sample_weight : (N,) array, optional
        **setting : float
            ``quantile`` or ``huber_delta``, for the loss that has it.

        Returns
        -------
        loss : float
        gradient : (P,) array
            NaN where the loss is not finite.
        """
        params = self._check_params(params)
        function = self.objective(
            X, y, loss=loss, alpha=alpha, sample_weight=sample_weight, dtype=params.dtype, **setting
        )
        value, gradient = function(params)
        if not np.isfinite(value):  # the step that would have found it was not made
            gradient[:] = np.nan
        return value, gradient

    def gradients(
        self,
        params: Any,
        X: Any,
        y: Any,
        *,
        loss: str = "half_squared_error",
        wrt: Sequence[Node | str],
        sample_weight: Any = None,
        **setting: Any,
    ) -> list[np.ndarray]:
        """Gradient of the weighted mean loss with respect to nodes.

        Parameters as in `loss_and_gradient`, and

        wrt : sequence of Node or str
            Nodes of this network, or their names.

        Returns
        -------
        list of (N, width) arrays
            Row i is the gradient with respect to the node's value for sample i.
        """
        params = self._check_params(params)
        if isinstance(wrt, str | Node):
            raise TypeError(f"wrt must be a sequence of nodes or names, got {wrt!r}")
        nodes = tuple(self._find("wrt", node) for node in wrt)
        trainer = Trainer(
            self, params, X, y, sample_weight,
            loss=loss, optimizer="gradient", batch_size=_ROWS_AT_ONCE, keep=nodes, **setting,
        )  # fmt: skip
        weights = np.ones(trainer.n_samples) if sample_weight is None else np.asarray(sample_weight)
        gradients = [np.zeros((trainer.n_samples, node.width), params.dtype) for node in nodes]
        for rows in gen_batches(trainer.n_samples, _ROWS_AT_ONCE):
            if not weights[rows].any():
                continue  # of no weight, no gradient
            trainer.epoch(np.arange(rows.start, rows.stop), 0.0)
            share = weights[rows].sum() / weights.sum()
            for node, gradient in zip(nodes, gradients, strict=True):
                delta = trainer.plan.read(trainer.work, node, rows.stop - rows.start, "delta")
                gradient[rows] = delta * share
        return gradients

    # --- Jacobian products

    def vjp(self, params: Any, X: Any, cotangent: Any) -> tuple[np.ndarray, np.ndarray]:
        """Products of a cotangent with the Jacobians of the raw outputs.

        General back-propagation without a loss: what ``dJ/d(raw outputs)`` becomes on its way back.
        For one dense node ``Z = X W + b`` and a cotangent C these are ``X^T C`` and the column sums
        of C, and ``C W^T``. (Goodfellow et al., 2016, equation 6.47.)

        Parameters
        ----------
        params : (P,) array
        X : (N, I) array or CSR
        cotangent : (N, R) array
            One weight for each raw output of each sample.

        Returns
        -------
        params_bar : (P,) array
            Sum over samples and outputs of cotangent times ``d(raw output)/d(params)``.
        X_bar : (N, I) array
            Row i: cotangent i times the Jacobian (R, I) of sample i.
        """
        params = self._check_params(params)
        cotangent = np.asarray(cotangent)
        if cotangent.ndim == 1:
            cotangent = cotangent[:, np.newaxis]
        X = X.tocsr() if sparse.issparse(X) else np.asarray(X)
        shape = (*X.shape[:1], self.n_outputs)
        if cotangent.shape != shape:
            raise ValueError(f"cotangent must have shape {shape}, got {cotangent.shape}")
        if cotangent.dtype.kind not in "fiub" or not np.isfinite(cotangent).all():
            raise ValueError("cotangent must hold finite real numbers")
        (source,) = (node for node in self.nodes if node.op == "input")
        trainer = Trainer(
            self, params, X, cotangent,
            loss="inner_product", optimizer="gradient", batch_size=_ROWS_AT_ONCE, keep=(source,),
        )  # fmt: skip
        X_bar = np.empty((trainer.n_samples, self.n_features), dtype=params.dtype)
        params_bar = np.zeros_like(params)
        for rows in gen_batches(trainer.n_samples, _ROWS_AT_ONCE):
            n = rows.stop - rows.start  # a step divides by it
            finite = np.isfinite(trainer.epoch(np.arange(rows.start, rows.stop), 0.0))
            X_bar[rows] = trainer.plan.read(trainer.work, source, n, "delta") * n
            params_bar += trainer.take_gradient() * n if finite else np.nan
        return params_bar, X_bar

    def jacobian(self, params: Any, X: Any, wrt: str = "X") -> np.ndarray:
        """Jacobians of the raw outputs, one for each sample.

        One backward pass for each raw output, and with ``wrt="params"`` for each sample: meant for
        small networks.

        Parameters
        ----------
        params : (P,) array
        X : (N, I) array or CSR
        wrt : {"X", "params"}, default="X"

        Returns
        -------
        (N, R, I) or (N, R, P) array
        """
        if wrt not in ("X", "params"):
            raise ValueError(f"wrt must be 'X' or 'params', got {wrt!r}")
        X = X.tocsr() if sparse.issparse(X) else np.asarray(X)
        units = np.eye(self.n_outputs)
        if wrt == "X":
            columns = [self.vjp(params, X, np.tile(c, (X.shape[0], 1)))[1] for c in units]
            return np.stack(columns, axis=1)
        return np.array(
            [
                [self.vjp(params, X[i : i + 1], c[np.newaxis])[0] for c in units]
                for i in range(X.shape[0])
            ]
        )

    # --- Pictures

    def to_mermaid(self, view: str = "forward") -> str:
        """The graph as a Mermaid flowchart, which Markdown on GitHub and GitLab draws.

        Parameters
        ----------
        view : {"forward", "backward", "training"}, default="forward"
            How the data flow, with shapes and numbers of parameters; the way back from the cost J,
            with the Jacobian product on each edge; or the whole cost with weight decay, in which
            each parameter is a node of its own. (Goodfellow et al., 2016, section 6.5.)

        Returns
        -------
        str

        Raises
        ------
        ValueError
            If there is no such view.
        """
        from nbnet import picture

        return picture.mermaid(picture.diagram(self.nodes, self.blocks, view))

    def to_dot(self, view: str = "forward") -> str:
        """The graph in the language of Graphviz; `view` as in `to_mermaid`."""
        from nbnet import picture

        return picture.dot(picture.diagram(self.nodes, self.blocks, view))

    def to_svg(self, view: str = "forward") -> Drawing:
        """The graph as an SVG picture, made without other programs; `view` as in `to_mermaid`.

        A string that notebooks show as the picture it is.
        """
        from nbnet import drawing, picture

        return drawing.svg(picture.diagram(self.nodes, self.blocks, view))

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _repr_html_(self) -> str:
        from nbnet import picture

        return picture.html(self.to_svg()._repr_html_(), self.blocks)

    def _find(self, parameter: str, node: Node | str) -> Node:
        for mine in self.nodes:
            if mine is node or (isinstance(node, str) and mine.name == node):
                return mine
        names = [mine.name for mine in self.nodes if mine.name is not None]
        raise ValueError(
            f"{parameter} takes nodes of this network or their names, of which there are {names}; "
            f"got {node!r}"
        )


def _to_engine(params: np.ndarray, plan: Plan) -> np.ndarray:
    if plan.natural:
        return params if params.flags.carray else np.require(params, requirements=["C", "A", "W"])
    engine = _aligned_zeros(plan.n_engine, plan.dtype)
    plan.pack(params, engine)
    return engine


class Trainer:
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
    loss : str
        A key of ``LOSSES``.
    optimizer : str, default="adam"
        A key of ``OPTIMIZERS``.
    batch_size : int, optional
        All rows by default; not more than there are.
    alpha : float, default=0
        L2 penalty, as in `Network.loss_and_gradient`, with the batch's weights.
    slots : (S, P) array, optional
        Optimizer state to continue from; zeros by default.
    step : int, default=0
        Steps already made (Adam's t).
    keep : tuple of Node, default=()
        Nodes to be read after a step.
    **settings : float
        What the loss is told (``Loss.setting``) and hyperparameters of the optimizer
        (``Optimizer.settings``).

    Attributes
    ----------
    n_samples : int
    plan : Plan
    work : (plan.n_work,) array
        Values and gradients of all nodes for the last batch.
    """

    def __init__(
        self,
        network: Network,
        params: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        loss: str,
        optimizer: str = "adam",
        batch_size: int | None = None,
        alpha: float = 0.0,
        slots: Any = None,
        step: int = 0,
        keep: tuple[Node, ...] = (),
        **settings: Any,
    ):
        loss_row = _row_of(LOSSES, "loss", loss)
        optimizer_row = _row_of(OPTIMIZERS, "optimizer", optimizer)
        setting = _setting(loss_row, settings)
        unknown = sorted(set(settings) - set(optimizer_row.settings))
        if unknown:
            told = [loss_row.setting.name] if loss_row.setting else []
            raise TypeError(
                f"loss {loss!r} takes {told}, optimizer {optimizer!r} takes "
                f"{sorted(optimizer_row.settings)}, got {unknown}"
            )
        if batch_size is not None and (batch_size < 1 or batch_size != int(batch_size)):
            raise ValueError(f"batch_size must be an integer >= 1, got {batch_size!r}")
        _check_number("alpha", alpha)
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha must be finite and >= 0, got {alpha!r}")
        params = network._check_params(params)
        dtype = params.dtype
        self._network = network
        samples = _Samples.of(X, network.n_features, dtype)
        self.n_samples = samples.n
        if samples.n == 0:
            raise ValueError("X must have at least one row to learn from, got 0")
        targets = _targets(y, loss_row, samples.n, network.n_outputs, dtype)
        weights = _weights(sample_weight, samples.n)
        if weights is not None and not weights.any():
            raise ValueError("sample_weight must have a positive sum, got 0")

        batch_size = samples.n if batch_size is None else min(int(batch_size), samples.n)
        rows = min(batch_size, _ROWS_AT_ONCE)
        self.plan = plan = network._plan(dtype, rows, keep=keep, sparse=samples.sparse)
        self._collects = optimizer_row.name == "gradient"
        self._team = Team(plan.operations * rows, plan.rows // ROWS, plan.operations * samples.n)
        # Whole batches, or None for all there are.
        self._rows_a_call = self._team.rows_a_call(plan.operations, batch_size)
        size = self._team.size
        self._rates = np.zeros(len(RATES))
        self._rate("alpha", alpha)
        self._rate("step", step)
        self._rate("setting", setting)
        self._settings = np.array(
            [float(settings.get(k, v)) for k, v in optimizer_row.settings.items()]
        )
        self._params = _aligned_zeros(plan.n_engine + plan.n_mirror, dtype)
        plan.pack(params, self._params)
        self._state = _aligned_zeros(optimizer_row.slots * plan.n_engine, dtype)
        self._slots = self._state.reshape(optimizer_row.slots, plan.n_engine)
        if slots is not None:
            slots = np.asarray(slots)
            if slots.shape != (optimizer_row.slots, plan.n_params):
                raise ValueError(
                    f"slots must have shape {(optimizer_row.slots, plan.n_params)}, "
                    f"got {slots.shape}"
                )
            for slot, into in zip(slots, self._slots, strict=True):
                plan.pack(slot, into)
        self.work = _aligned_zeros(plan.n_work, dtype)
        self._fixed = (
            plan.head(
                targets=targets.shape[1],
                loss=loss_row.code,
                optimizer=optimizer_row.code,
                batch=batch_size,
                rows=rows,
            ),
            plan.nodes,
            plan.ops,
            plan.slopes,
            plan.tasks,
            plan.bounds(size),
            samples.values,
            samples.indices,
            samples.indptr,
            _frozen(targets, dtype),
            _frozen([] if weights is None else weights, dtype),
        )
        self._buffers = (
            self._settings,
            self._rates,
            np.zeros((size, HYPER), dtype=dtype),
            self._params,
            self._state,
            _aligned_zeros(plan.n_engine if rows < batch_size else 0, dtype),
            self.work,
            _aligned_zeros(size * plan.n_scratch, dtype).reshape(size, -1),
            np.zeros(plan.rows),
            np.zeros(len(plan.tasks)),
            plan.general,
            None if loss_row.plain else 1,
        )

    def _rate(self, name: str, value: float) -> None:
        self._rates[RATES.index(name)] = value

    def epoch(self, order: np.ndarray, learning_rate: float) -> float:
        """One step for each consecutive slice of `batch_size` rows.

        Parameters
        ----------
        order : (M,) int64 array
            Rows of X in the order in which they are used; empty for none.
        learning_rate : float

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
        order = _frozen(order, np.int64)
        if order.size == 0:
            return 0.0
        if order.min() < 0 or order.max() >= self.n_samples:
            raise ValueError(
                f"order must hold rows in [0, {self.n_samples - 1}], "
                f"got {order.min()} to {order.max()}"
            )
        self._rate("learning_rate", learning_rate)
        self._rate("loss", 0.0)
        self._rate("rows", 0.0)
        rows = self._rows_a_call or order.size
        for start in range(0, order.size, rows):
            part = order[start : start + rows]
            status = self._team.run(
                train, (*self._fixed, part, *self._buffers), self.plan.operations * part.size
            )
            if status != FINISHED:
                break
        loss, rows = (self._rates[RATES.index(name)] for name in ("loss", "rows"))
        if not np.isfinite(loss):
            return float(loss)
        return float(loss / rows) if rows > 0 else 0.0

    def loss_and_gradient(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient (P,) over all rows at `params`, for ``optimizer="gradient"``."""
        if not self._collects:
            raise ValueError('loss_and_gradient needs optimizer="gradient"')
        self.plan.pack(params, self._params)
        loss = self.epoch(np.arange(self.n_samples), 0.0)
        return loss, self.take_gradient()

    def take_gradient(self) -> np.ndarray:
        """Gradient (P,) summed over the steps since it was last taken, likewise."""
        gradient = self.plan.unpack(self._slots[0])
        self._state[:] = 0
        return gradient

    def forward(self, X: Any, loss: str | None = None) -> np.ndarray:
        """`Network.forward` with the current parameters."""
        return self._network._run_forward(
            lambda plan: self.params if plan.natural else self._params, X, self.plan.dtype, loss
        )

    @property
    def params(self) -> np.ndarray:
        """Current parameters (P,), a copy."""
        return self.plan.unpack(self._params)

    @property
    def slots(self) -> np.ndarray:
        """Current optimizer state (S, P), a copy."""
        return np.array([self.plan.unpack(slot) for slot in self._slots]).reshape(
            len(self._slots), self.plan.n_params
        )

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._rates[RATES.index("step")])
