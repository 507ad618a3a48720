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
from sklearn.utils import gen_batches

from nbnet.graph.describe import describe
from nbnet.graph.nodes import Node
from nbnet.graph.outline import Outline, to_engine
from nbnet.graph.session import ROWS_AT_ONCE, SEEDS, Session
from nbnet.kernels.entry import BLOCK
from nbnet.kernels.user import CustomLoss

if TYPE_CHECKING:
    from nbnet.graph.picture.svg import Drawing

__all__ = ["Network"]


class Network(Outline):
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
        super().__init__(output, output_gain)
        self._networks_below: dict[int, tuple[Network, np.ndarray]] = {}

    def describe(self, dtype: Any = np.float64, rows: int = BLOCK) -> str:
        """A table of ops, parameters and buffers with names, shapes and offsets."""
        return describe(self.plan(dtype, rows))

    # --- Outputs

    def forward(
        self,
        params: Any,
        X: Any,
        loss: str | CustomLoss | None = None,
        *,
        node: Node | str | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Raw outputs (N, R) in the dtype of `params`.

        Parameters
        ----------
        params : (P,) array
        X : (N, I) array or CSR
        loss : str or CustomLoss, optional
            Apply this loss's inverse link: probabilities for the cross-entropies (a pinned class
            included), the parameters of the output distribution for others.
        node : Node or str, optional
            Return the values (N, width) of this node of the network, or of the node with this
            name, instead.
        seed : int, optional
            In [0, 2 ** 62): draw masks of dropout from it, another one for each row. By default
            nothing is dropped.
        """
        if seed is not None and not 0 <= seed < SEEDS:
            raise ValueError(f"seed must be an integer in [0, 2 ** 62), got {seed!r}")
        params = self.check_params(params)
        if node is not None:
            if loss is not None:
                raise ValueError(f"loss must be None where a node is asked for, got {loss!r}")
            below, at = self._below(self._find("node", node))
            return below.forward(params[at], X, seed=seed)
        return self.run_forward(partial(to_engine, params), X, params.dtype, loss, seed)

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
        self, X: Any, y: Any, *, loss: str | CustomLoss, alpha: float = 0.0,
        sample_weight: Any = None, dtype: Any = np.float64, **numbers: Any,
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
        loss: str | CustomLoss = "half_squared_error",
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
        loss : str or CustomLoss
            A key of ``LOSSES``, or a loss of your own.
        alpha : float, default=0
        sample_weight : (N,) array, optional
        **numbers : float, or sequence of float
            ``quantile`` (several levels have a raw output each), ``huber_delta`` and so on, for the
            loss that has it.

        Returns
        -------
        loss : float
        gradient : (P,) array
            NaN where the loss is not finite.
        """
        params = self.check_params(params)
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
        loss: str | CustomLoss = "half_squared_error",
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
        params = self.check_params(params)
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
        params = self.check_params(params)
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

    # --- For people

    def __repr__(self) -> str:
        ops = len(self.nodes) - 1
        return (
            f"<Network: {self.n_features} features, {ops} node{'s' * (ops != 1)}, "
            f"{self.n_outputs} outputs, {self.n_params:,} parameters>"
        )

    def summary(self) -> str:
        """A table of all nodes: what each is, what it reads, its width and its parameters.

        Returns
        -------
        str
            A line for each node, in the order of computation, and the total.
        """
        names = [node.name or f"({i})" for i, node in enumerate(self.nodes)]
        place = {node: i for i, node in enumerate(self.nodes)}
        rows = [("node", "kind", "reads", "width", "parameters")]
        for i, node in enumerate(self.nodes):
            numbers = [f"{name}={value:g}" for name, value in node.numbers.items()]
            pieces = [f"pieces={node.pieces}"] if node.pieces > 1 else []
            owned = [p for p in self.parameters if p.node == i]
            rows.append(
                (
                    names[i],
                    " ".join([node.kind, *numbers, *pieces]),
                    ", ".join(names[place[parent]] for parent in node.inputs),
                    str(node.width),
                    " + ".join(f"{math.prod(p.shape):,}" for p in owned),
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
        return "\n".join([*lines, f"P = {self.n_params:,}"])

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
