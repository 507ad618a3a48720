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

Nodes hold no numbers, a network holds none either: parameters go in and out as one flat vector, and
everything is computed in its dtype. (Goodfellow et al., 2016, section 6.5.)
"""

from nbnet import nodes
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.network import Network
from nbnet.nodes import Node, activation, add, concat, dense, input, maxout, mlp, multiply

__all__ = [
    "Network",
    "Node",
    "activation",
    "add",
    "concat",
    "dense",
    "input",
    "maxout",
    "mlp",
    "multiply",
    *ACTIVATIONS,
]

# One function per row of the table: relu(x), tanh(x), leaky_relu(x, negative_slope=0.01), ...
globals().update({name: getattr(nodes, name) for name in ACTIVATIONS})
