"""What connects to what: the nodes of a network, in plain Python.

Nodes hold no numbers. `nbnet.plan` turns the graph that ends in a node into offsets and op codes,
`nbnet.network.Network` gives it parameters and gradients; users find both in `nbnet.graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

from nbnet.kernels.activations import ACTIVATIONS, Activation

__all__ = [
    "Node",
    "activation",
    "add",
    "concat",
    "dense",
    "input",
    "maxout",
    "mlp",
    "multiply",
    "topological_order",
    *ACTIVATIONS,
]


@dataclass(frozen=True, eq=False)
class Node:
    """One variable of the computation; made by the functions of this module.

    Attributes
    ----------
    op : str
        ``"input"`` or a key of ``OPS``.
    inputs : tuple of Node
        What it is computed from.
    width : int
        Numbers per sample.
    name : str or None
    activation : str or None
        Key of ``ACTIVATIONS`` where `op` is ``"activation"``.
    negative_slope : float
        Of a leaky ReLU.
    pieces : int
        K of a maxout node, else 1.
    """

    op: str
    inputs: tuple[Node, ...]
    width: int
    name: str | None = None
    activation: str | None = None
    negative_slope: float = 0.0
    pieces: int = 1

    def __repr__(self) -> str:
        kind = self.activation or self.op
        return f"<{kind} node{f' {self.name!r}' if self.name else ''}, width {self.width}>"


def _check_count(parameter: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{parameter} must be an integer >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{parameter} must be >= {least}, got {value}")
    return int(value)


def _check_name(name: object) -> str | None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string or None, got {name!r}")
    return name


def _check_nodes(function: str, nodes: tuple[object, ...], least: int) -> tuple[Node, ...]:
    if len(nodes) < least:
        raise ValueError(f"{function} needs at least {least} nodes, got {len(nodes)}")
    for node in nodes:
        if not isinstance(node, Node):
            raise TypeError(f"{function} takes nodes of nbnet.graph, got {node!r}")
    return nodes  # type: ignore[return-value]


def input(width: int, name: str | None = None) -> Node:
    """The samples: a node of `width` features, the one source of a network."""
    return Node("input", (), _check_count("width", width, 1), _check_name(name))


def dense(x: Node, width: int, name: str | None = None) -> Node:
    """Affine map ``x W + b`` to `width` units."""
    nodes = _check_nodes("dense", (x,), 1)
    return Node("dense", nodes, _check_count("width", width, 1), _check_name(name))


def maxout(x: Node, width: int, pieces: int = 2, name: str | None = None) -> Node:
    """Maxout units: each the largest of `pieces` affine maps of `x`.

    The weight matrix is (fan_in, width * pieces); unit i takes its columns i * pieces to
    (i + 1) * pieces - 1. (Goodfellow et al., 2016, equation 6.37.)
    """
    nodes = _check_nodes("maxout", (x,), 1)
    width = _check_count("width", width, 1)
    pieces = _check_count("pieces", pieces, 2)
    return Node("maxout", nodes, width, _check_name(name), pieces=pieces)


def _same_width(function: str, nodes: tuple[Node, ...]) -> int:
    widths = sorted({node.width for node in nodes})
    if len(widths) > 1:
        raise ValueError(
            f"{function} needs nodes of one width, got {[node.width for node in nodes]}"
        )
    return widths[0]


def _pairwise(op: str, nodes: tuple[object, ...], name: str | None) -> Node:
    """Fold `nodes` from the left: the engine's add and multiply take two."""
    first, *others = _check_nodes(op, nodes, 2)
    width = _same_width(op, (first, *others))
    for other in others[:-1]:
        first = Node(op, (first, other), width)
    return Node(op, (first, others[-1]), width, _check_name(name))


def add(*nodes: Node, name: str | None = None) -> Node:
    """Elementwise sum of two or more nodes of one width."""
    return _pairwise("add", nodes, name)


def multiply(*nodes: Node, name: str | None = None) -> Node:
    """Elementwise product of two or more nodes of one width."""
    return _pairwise("multiply", nodes, name)


def concat(*nodes: Node, name: str | None = None) -> Node:
    """The columns of two or more nodes side by side."""
    checked = _check_nodes("concat", nodes, 2)
    return Node("concat", checked, sum(node.width for node in checked), _check_name(name))


def activation(
    function: str, x: Node, *, negative_slope: float = 0.01, name: str | None = None
) -> Node:
    """Elementwise ``g(x)``, `function` being a key of ``ACTIVATIONS``."""
    (x,) = _check_nodes("activation", (x,), 1)
    if function not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {function!r}")
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, Real):
        raise TypeError(f"negative_slope must be a number >= 0, got {negative_slope!r}")
    if not 0 <= negative_slope < float("inf"):
        raise ValueError(f"negative_slope must be finite and >= 0, got {negative_slope}")
    return Node("activation", (x,), x.width, _check_name(name), function, float(negative_slope))


def _elementwise(row: Activation) -> Callable[..., Node]:
    if "negative_slope" in row.formula:

        def function(x: Node, negative_slope: float = 0.01, name: str | None = None) -> Node:
            return activation(row.name, x, negative_slope=negative_slope, name=name)

    else:

        def function(x: Node, name: str | None = None) -> Node:  # type: ignore[misc]
            return activation(row.name, x, name=name)

    function.__name__ = function.__qualname__ = row.name
    function.__doc__ = f"Elementwise ``{row.formula}``, z being the value of `x`."
    return function


# One function per row of the table: relu(x), tanh(x), leaky_relu(x, negative_slope=0.01), ...
globals().update({name: _elementwise(row) for name, row in ACTIVATIONS.items()})


def mlp(
    n_features: int,
    hidden: Sequence[tuple[str, int]],
    n_outputs: int,
    *,
    negative_slope: float = 0.01,
    pieces: int = 2,
) -> Node:
    """A plain stack: one (activation, width) per hidden layer, then a dense output.

    An activation is a key of ``ACTIVATIONS`` or ``"maxout"``.
    """
    node = input(n_features, name="x")
    for i, (function, width) in enumerate(hidden, start=1):
        if function == "maxout":
            node = maxout(node, width, pieces, name=f"h{i}")
        else:
            node = dense(node, width, name=f"z{i}")
            node = activation(function, node, negative_slope=negative_slope, name=f"h{i}")
    return dense(node, n_outputs, name="output")


def _postorder(output: Node) -> Iterator[Node]:
    """Depth first without recursion, so that depth is bounded by memory alone."""
    done = {id(output): False}  # False as long as the node is on the way from the output
    stack = [(output, iter(output.inputs))]
    while stack:
        node, inputs = stack[-1]
        for parent in inputs:
            if id(parent) not in done:
                done[id(parent)] = False
                stack.append((parent, iter(parent.inputs)))
                break
            if not done[id(parent)]:
                raise ValueError(f"a network has no cycles, but {parent} depends on itself")
        else:
            done[id(node)] = True
            stack.pop()
            yield node


def topological_order(output: Node) -> list[Node]:
    """All nodes that `output` depends on, each after its inputs, `output` last.

    Raises
    ------
    TypeError
        If `output` is not a node.
    ValueError
        If the graph has a cycle or not exactly one input node, or a name occurs twice.
    """
    (output,) = _check_nodes("a network", (output,), 1)
    nodes = list(_postorder(output))
    sources = [node for node in nodes if node.op == "input"]
    if len(sources) != 1:
        raise ValueError(f"a network needs exactly one input node, got {sources}")
    names = [node.name for node in nodes if node.name is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"node names must be unique within a network, got {twice} twice")
    return nodes
