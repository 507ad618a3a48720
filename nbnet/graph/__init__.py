"""Networks as graphs: the nodes to write one down with, and `Network` to run it.

A network is an expression over nodes::

    from nbnet import graph as g

    x = g.input(8)
    h = g.relu(g.dense(x, 64))
    h = g.relu(g.add(h, g.dense(h, 64)))  # two paths into h: their gradients are summed
    net = g.Network(g.dense(h, 1))

    params = net.init(random_state=0)  # flat, (P,)
    raw = net.forward(params, X)
    loss, gradient = net.loss_and_gradient(params, X, y, loss="half_squared_error")

Nodes hold no arrays, a network holds none either: parameters go in and out as one flat vector, and
everything is computed in its dtype. (Goodfellow et al., 2016, section 6.5.)
"""

from __future__ import annotations

from collections.abc import Callable

from nbnet.graph import nodes as _nodes
from nbnet.graph.network import Network
from nbnet.graph.nodes import (
    Node,
    activation,
    add,
    concat,
    dense,
    dropout,
    input,
    layer_norm,
    maxout,
    mlp,
    multiply,
)
from nbnet.kernels.activations import ACTIVATIONS as _ACTIVATIONS
from nbnet.kernels.ops import OPS as _OPS

_MADE = (*_ACTIVATIONS, *(row.name for row in _OPS.values() if row.elementwise))

__all__ = [
    "Network",
    "Node",
    "activation",
    "add",
    "concat",
    "dense",
    "dropout",
    "input",
    "layer_norm",
    "maxout",
    "mlp",
    "multiply",
    *_MADE,
]


def __getattr__(name: str) -> Callable[..., Node]:
    """Make a function for each row of the tables: relu(x), tanh(x), leaky_relu(x, 0.01), ..."""
    function = _nodes.function_of(name)
    if function is None:
        raise AttributeError(f"module 'nbnet.graph' has no attribute {name!r}")
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*globals(), *_MADE})
