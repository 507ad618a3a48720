"""Networks: outputs and gradients of a graph.

`Network` is stateless: parameters come in and go out as one flat vector (P,), array by array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.special import softmax
from sklearn.utils import check_random_state, gen_batches

from nbnet.graph.arrays import NO_ORDER, Samples, aligned_zeros, n_targets_of, row_of
from nbnet.graph.describe import describe
from nbnet.graph.nodes import Node, topological_order
from nbnet.graph.parameters import Parameter, parameters_of
from nbnet.graph.plan import Plan, make_plan
from nbnet.graph.session import ROWS_AT_ONCE, Session
from nbnet.kernels.entry import BLOCK, predict
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.machine.vectors import ROWS
from nbnet.kernels.ops import OPS
from nbnet.kernels.threads import Team

if TYPE_CHECKING:
    from nbnet.graph.picture.svg import Drawing

__all__ = ["Network"]


class Network:
    """The function that the graph ending in `output` computes.

    Parameters
    ----------
    output : Node
        Its last node; its columns are the raw outputs.
    output_gain : float, optional
        Initialisation gain of nodes that no activation follows (see
        `nbnet.graph.parameters.parameters_of`).

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
    parameters : tuple of Parameter
        One for each array, in the order in which they lie in the flat vector.
    """

    def __init__(self, output: Node, output_gain: float | None = None):
        order = topological_order(output)
        self.output = output
        self.nodes = tuple(order)
        self.parameters = parameters_of(order, output_gain)
        self.n_features = next(node.width for node in order if node.op == "input")
        self.n_outputs = output.width
        self.n_params = self.parameters[-1].place.stop if self.parameters else 0
        self._forward_plans: dict[tuple[np.dtype, int, bool], tuple[Plan, np.ndarray]] = {}
        self._operations = sum(2 * math.prod(p.shape) for p in self.parameters if len(p.shape) == 2)
        self._networks_below: dict[int, tuple[Network, np.ndarray]] = {}
        # Whether one row can be predicted by parameters in the natural layout.
        self._natural = all(node.op == "dense" or not OPS[node.op].owns for node in order)

    def describe(self, dtype: Any = np.float64, rows: int = BLOCK) -> str:
        """A table of ops, parameters and buffers with names, shapes and offsets."""
        return describe(self._plan(dtype, rows))

    def _plan(self, dtype: Any, rows: int, **options: Any) -> Plan:
        return make_plan(self.output, dtype, rows, self.parameters, **options)

    def _forward_plan(self, dtype: np.dtype, rows: int, sparse: bool) -> tuple[Plan, np.ndarray]:
        """A plan without gradients and its head, kept: a few rows are predicted in less time."""
        natural = rows == 1 and not sparse and self._natural
        key = (dtype, 1 if natural else max(1, -(-rows // ROWS)) * ROWS, sparse)
        if key not in self._forward_plans:
            plan = self._plan(*key[:2], training=False, sparse=sparse, natural=natural)
            self._forward_plans[key] = plan, plan.head(rows=1 if natural else BLOCK)
        return self._forward_plans[key]

    # --- Parameters

    def init(self, random_state: Any = None, dtype: Any = np.float64) -> np.ndarray:
        """Initial parameters (P,), uniform in +-sqrt(gain / (fan_in + fan_out)).

        Drawn in double precision, one parameter after the other: scikit-learn's order. (Glorot
        and Bengio, 2010, equation 16; fan_out counts units, not pieces.)
        """
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        rng = check_random_state(random_state)
        params = np.empty(self.n_params, dtype=dtype)
        for parameter in self.parameters:
            if parameter.initial is None:
                drawn = rng.uniform(-parameter.bound, parameter.bound, parameter.shape)
                params[parameter.place] = drawn.ravel()
            else:
                params[parameter.place] = parameter.initial
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
            row = row_of(LOSSES, "loss", loss)
            n_targets_of(row, self.n_outputs)  # or it has no distribution with such parameters
            link, pinned = row.code, row.pinned
        samples = Samples.of(X, self.n_features, dtype)
        operations = self._operations * samples.n
        team = Team(operations, -(-samples.n // BLOCK), operations)
        plan, head = self._forward_plan(dtype, min(samples.n, team.size * BLOCK), samples.sparse)
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
            ),
            operations,
        )
        out = out.reshape(samples.n, self.n_outputs)
        return softmax(np.pad(out, ((0, 0), (1, 0))), axis=1) if pinned else out

    def _below(self, node: Node) -> tuple[Network, np.ndarray]:
        """The network that ends in `node`, and where its parameters lie in those of this one."""
        if id(node) not in self._networks_below:
            below = Network(node)
            mine = {(id(self.nodes[p.node]), p.role): p.place for p in self.parameters}
            at = [np.empty(0, dtype=np.int64)]
            for parameter in below.parameters:
                place = mine[id(below.nodes[parameter.node]), parameter.role]
                at.append(np.arange(place.start, place.stop))
            self._networks_below[id(node)] = below, np.concatenate(at)
        return self._networks_below[id(node)]

    # --- Gradients

    def objective(
        self, X: Any, y: Any, *, loss: str, alpha: float = 0.0, sample_weight: Any = None,
        dtype: Any = np.float64, **numbers: Any,
    ) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:  # fmt: skip
        """The function from params (P,) to loss and gradient (P,) on fixed data.

        Parameters as in `loss_and_gradient`; what depends on the data alone is done once.
        """
        start = np.zeros(self.n_params, dtype=dtype)
        return Session(
            self, start, X, y, sample_weight, loss=loss, alpha=alpha, optimizer=None, **numbers
        ).gradient

    def loss_and_gradient(
        self,
        params: Any,
        X: Any,
        y: Any,
        *,
        loss: str = "half_squared_error",
        alpha: float = 0.0,
        sample_weight: Any = None,
        **numbers: Any,
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
        **numbers : float
            ``quantile`` or ``huber_delta``, for the loss that has it.

        Returns
        -------
        loss : float
        gradient : (P,) array
            NaN where the loss is not finite.
        """
        params = self._check_params(params)
        function = self.objective(
            X, y, loss=loss, alpha=alpha, sample_weight=sample_weight, dtype=params.dtype, **numbers
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
        **numbers: Any,
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
        session = Session(
            self, params, X, y, sample_weight,
            loss=loss, optimizer=None, batch_size=ROWS_AT_ONCE, keep=nodes, **numbers,
        )  # fmt: skip
        weights = np.ones(session.n_samples) if sample_weight is None else np.asarray(sample_weight)
        gradients = [np.zeros((session.n_samples, node.width), params.dtype) for node in nodes]
        for rows in gen_batches(session.n_samples, ROWS_AT_ONCE):
            if not weights[rows].any():
                continue  # of no weight, no gradient
            session.gradient(order=np.arange(rows.start, rows.stop))
            share = weights[rows].sum() / weights.sum()
            for node, gradient in zip(nodes, gradients, strict=True):
                delta = session.plan.read(session.work, node, rows.stop - rows.start, "delta")
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
        session = Session(
            self, params, X, cotangent,
            loss="inner_product", optimizer=None, batch_size=ROWS_AT_ONCE, keep=(source,),
        )  # fmt: skip
        X_bar = np.empty((session.n_samples, self.n_features), dtype=params.dtype)
        params_bar = np.zeros_like(params)
        for rows in gen_batches(session.n_samples, ROWS_AT_ONCE):
            n = rows.stop - rows.start  # a step divides by it
            value, gradient = session.gradient(order=np.arange(rows.start, rows.stop))
            X_bar[rows] = session.plan.read(session.work, source, n, "delta") * n
            params_bar += gradient * n if np.isfinite(value) else np.nan
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
        from nbnet.graph.picture import diagram as picture

        return picture.mermaid(picture.diagram(self.nodes, self.parameters, view))

    def to_dot(self, view: str = "forward") -> str:
        """The graph in the language of Graphviz; `view` as in `to_mermaid`."""
        from nbnet.graph.picture import diagram as picture

        return picture.dot(picture.diagram(self.nodes, self.parameters, view))

    def to_svg(self, view: str = "forward") -> Drawing:
        """The graph as an SVG picture, made without other programs; `view` as in `to_mermaid`.

        A string that notebooks show as the picture it is.
        """
        from nbnet.graph.picture import diagram as picture
        from nbnet.graph.picture import svg

        return svg.svg(picture.diagram(self.nodes, self.parameters, view))

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _repr_html_(self) -> str:
        from nbnet.graph.picture import diagram as picture

        return picture.html(self.to_svg()._repr_html_(), self.parameters)

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
    engine = aligned_zeros(plan.n_engine, plan.dtype)
    plan.pack(params, engine)
    return engine
