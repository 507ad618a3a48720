"""The parameters of a network: one row for each array that a node owns.

A row says all that other code would have to know of the array: its shape, where it lies in the flat
parameter vector, how it starts, and the group by which it is trained. Which arrays an op owns, its
row of ``OPS`` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nbnet.graph.nodes import Node
from nbnet.kernels.ops import OPS
from nbnet.kernels.user import activation_row

__all__ = ["Parameter", "parameters_of"]

DEFAULT_GAIN = 6.0


@dataclass(frozen=True)
class Parameter:
    """One array of a network, in the natural layout: C order.

    Attributes
    ----------
    owner : str
        Name of the node that owns it, given or made up.
    node : int
        Position of that node in ``Network.nodes``.
    role : str
        What it is to the node: ``"weights"``, ``"bias"``, ...
    group : str
        Key of ``GROUPS``: by which numbers it is trained.
    fan_in : int
        Width of the node's input.
    units, pieces : int
        The array has units * pieces columns; `pieces` is 1 but for a maxout node.
    shape : tuple of int
    start : int
        Offset of its first number in the flat vector (P,).
    initial : float or None
        Where each number starts; None draws it: uniformly within +-`bound`, or from a normal
        distribution if there is a `deviation`.
    bound : float
        sqrt(gain / (fan_in + units)), the gain being that of the activation that follows (Glorot
        and Bengio, 2010, equation 16).
    deviation : float or None
        The standard deviation 1 / sqrt(fan_in), if the activation that follows asks for it (see
        ``Activation.lecun``).
    """

    owner: str
    node: int
    role: str
    group: str
    fan_in: int
    units: int
    pieces: int
    shape: tuple[int, ...]
    start: int
    initial: float | None
    bound: float
    deviation: float | None = None

    @property
    def name(self) -> str:
        """Name of the owner and role."""
        return f"{self.owner} {self.role}"

    @property
    def place(self) -> slice:
        """Where it lies in the flat vector."""
        return slice(self.start, self.start + math.prod(self.shape))


def parameters_of(order: Sequence[Node], output_gain: float | None = None) -> tuple[Parameter, ...]:
    """All parameters of the nodes of `order`, one behind the other.

    A node that no activation follows, such as the output, takes `output_gain`, by default the gain
    of the node with parameters before it: as scikit-learn does.
    """
    followers = {
        id(node.inputs[0]): activation_row(node.activation)
        for node in order
        if node.activation is not None
    }
    parameters: list[Parameter] = []
    start, owners, gain = 0, 0, DEFAULT_GAIN
    for i, node in enumerate(order):
        owned = OPS[node.op].owns
        if not owned:
            continue
        if node.op == "maxout":
            gain = DEFAULT_GAIN
        elif id(node) in followers:
            gain = followers[id(node)].gain
        elif output_gain is not None:
            gain = output_gain
        fan_in = node.inputs[0].width
        lecun = id(node) in followers and followers[id(node)].lecun
        for one in owned:
            columns = node.width * node.pieces
            parameter = Parameter(
                owner=node.name or f"{node.op}_{owners}",
                node=i,
                role=one.role,
                group=one.group,
                fan_in=fan_in,
                units=node.width,
                pieces=node.pieces,
                shape=(fan_in, columns) if one.matrix else (columns,),
                start=start,
                initial=0.0 if lecun and one.initial is None and not one.matrix else one.initial,
                bound=math.sqrt(gain / (fan_in + node.width)),
                deviation=1.0 / math.sqrt(fan_in) if lecun and one.matrix else None,
            )
            parameters.append(parameter)
            start = parameter.place.stop
        owners += 1
    return tuple(parameters)
