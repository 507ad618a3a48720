"""What connects to what: the nodes of a network, in plain Python.

Nodes hold no arrays. `nbnet.graph.plan` turns the graph that ends in a node into offsets and op
codes, `nbnet.graph.Network` gives it parameters and gradients; users find both in `nbnet.graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from numbers import Integral
from typing import Any

from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.ops import OPS
from nbnet.kernels.records import Setting
from nbnet.kernels.user import CustomActivation, activation_row

__all__ = [
    "Node",
    "activation",
    "add",
    "concat",
    "dense",
    "dropout",
    "function_of",
    "input",
    "layer_norm",
    "maxout",
    "mlp",
    "multiply",
    "topological_order",
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
    activation : str, CustomActivation or None
        Key of ``ACTIVATIONS``, or one of the user's, where `op` is ``"activation"``.
    numbers : dict of str to float
        The numbers that its activation or op takes, such as ``negative_slope``.
    pieces : int
        K of a maxout node, else 1.
    """

    op: str
    inputs: tuple[Node, ...]
    width: int
    name: str | None = None
    activation: str | CustomActivation | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    pieces: int = 1

    @property
    def kind(self) -> str:
        """What pictures and tables call it: the name of its activation, or of its op."""
        return self.op if self.activation is None else activation_row(self.activation).name

    def __repr__(self) -> str:
        return f"<{self.kind} node{f' {self.name!r}' if self.name else ''}, width {self.width}>"

    def __add__(self, other: Node) -> Node:
        return add(self, other) if isinstance(other, Node) else NotImplemented

    def __mul__(self, other: Node) -> Node:
        return multiply(self, other) if isinstance(other, Node) else NotImplemented


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


def layer_norm(x: Node, epsilon: float = 1e-5, name: str | None = None) -> Node:
    """Layer normalisation: each row of `x` with mean 0 and variance 1, then scaled and shifted.

    With the mean m and the variance v of a row over its columns, column j becomes
    ``w_j (x_j - m) / sqrt(v + epsilon) + b_j``. The weights w start at 1, the biases b at 0. Both
    are learned, without L2 penalty. No row depends on another row. (Ba et al., 2016, "Layer
    normalization".)
    """
    nodes = _check_nodes("layer_norm", (x,), 1)
    numbers = _numbers(OPS["layer_norm"].settings, {"epsilon": epsilon}, "layer_norm")
    return Node("layer_norm", nodes, x.width, _check_name(name), numbers=numbers)


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


def _numbers(settings: tuple[Setting, ...], given: dict[str, Any], what: str) -> dict[str, float]:
    """Each number that `settings` names, given or by default, checked."""
    unknown = sorted(set(given) - {setting.name for setting in settings})
    if unknown:
        raise TypeError(f"{what} takes {[setting.name for setting in settings]}, got {unknown}")
    return {
        setting.name: setting.check(given.get(setting.name, setting.default))
        for setting in settings
    }


def dropout(x: Node, rate: float, name: str | None = None) -> Node:
    """In training, `x` with each number set to 0 with probability `rate`; else `x` itself.

    The numbers that stay are divided by 1 - rate, so that their mean is that of `x`. A `Session`
    trains with dropout if it has a `seed`, and `Network.forward` drops with one. (Srivastava et
    al., 2014.)
    """
    (x,) = _check_nodes("dropout", (x,), 1)
    numbers = _numbers(OPS["dropout"].settings, {"rate": rate}, "dropout")
    return Node("dropout", (x,), x.width, _check_name(name), numbers=numbers)


_dropout = dropout  # `mlp` has a parameter of this name


def activation(
    function: str | CustomActivation, x: Node, *, name: str | None = None, **numbers: float
) -> Node:
    """Elementwise ``g(x)``, `function` being a key of ``ACTIVATIONS`` or a `CustomActivation`.

    `numbers` are those of its row there, such as ``negative_slope`` of ``"leaky_relu"``.
    """
    (x,) = _check_nodes("activation", (x,), 1)
    if not isinstance(function, CustomActivation) and function not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {sorted(ACTIVATIONS)} or a CustomActivation, got "
            f"{function!r}"
        )
    row = activation_row(function)
    checked = _numbers(row.settings, numbers, row.name)
    return Node("activation", (x,), x.width, _check_name(name), function, checked)


def _documented(
    name: str, settings: tuple[Setting, ...], text: str, inputs: int, make: Callable[..., Node]
) -> Callable[..., Node]:
    """Build a function of `nbnet.graph`, of nodes, the row's numbers and a name."""
    kind = Parameter.POSITIONAL_OR_KEYWORD
    signature = Signature(
        [Parameter(source, kind) for source in ("x", "y")[:inputs]]
        + [Parameter(setting.name, kind, default=setting.default) for setting in settings]
        + [Parameter("name", kind, default=None)]
    )

    def function(*arguments: Any, **keywords: Any) -> Node:
        given = signature.bind(*arguments, **keywords).arguments
        numbers = {s.name: given[s.name] for s in settings if s.name in given}
        nodes = tuple(given[source] for source in ("x", "y")[:inputs])
        return make(nodes, given.get("name"), numbers)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def function_of(name: str) -> Callable[..., Node] | None:
    """Build the function of `nbnet.graph` that a row of a table gives; None if no row has the name.

    One for each row of ``ACTIVATIONS``, ``relu(x)``, ``leaky_relu(x, negative_slope=0.01)``, ...,
    and for each elementwise row of ``OPS``.
    """
    if name in ACTIVATIONS:
        row = ACTIVATIONS[name]
        return _documented(
            name,
            row.settings,
            f"Elementwise ``{row.formula}``, z being the value of `x`.",
            1,
            lambda nodes, label, numbers: activation(name, nodes[0], name=label, **numbers),
        )
    if name in OPS and OPS[name].elementwise:
        op = OPS[name]

        def make(nodes: tuple[object, ...], label: str | None, numbers: dict[str, Any]) -> Node:
            checked = _check_nodes(name, nodes, op.inputs)
            width = _same_width(name, checked)
            numbers = _numbers(op.settings, numbers, name)
            return Node(name, checked, width, _check_name(label), numbers=numbers)

        return _documented(name, op.settings, f"The op ``{name}``.", op.inputs, make)
    return None


def mlp(
    n_features: int,
    hidden: Sequence[tuple[str | CustomActivation, int]],
    n_outputs: int,
    *,
    pieces: int = 2,
    dropout: Sequence[float] = (),
    **numbers: float,
) -> Node:
    """A plain stack: one (activation, width) per hidden layer, then a dense output.

    An activation is a key of ``ACTIVATIONS``, a `CustomActivation` or ``"maxout"``. Each takes
    those of `numbers` that its row names. Of the `dropout` rates, one per hidden layer, a 0 makes
    no node.
    """
    node = input(n_features, name="x")
    for i, (function, width) in enumerate(hidden, start=1):
        if function == "maxout":
            node = maxout(node, width, pieces, name=f"h{i}")
        else:
            node = dense(node, width, name=f"z{i}")
            own_function = isinstance(function, CustomActivation)
            known = not own_function and function in ACTIVATIONS
            settings = activation_row(function).settings if known else ()
            own = {s.name: numbers[s.name] for s in settings if s.name in numbers}
            node = activation(function, node, name=f"h{i}", **own)
        if i <= len(dropout) and dropout[i - 1] > 0:
            node = _dropout(node, dropout[i - 1])
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
