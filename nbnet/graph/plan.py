"""From a graph to offsets: everything compiled code has to know, as integers.

A plan fixes, for one dtype and one number of buffer rows, which op runs when, where the value and
the gradient of each node lie in one flat ``work`` buffer, and where each parameter lies in the
engine's vector. No architecture leads to new machine code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbnet.graph.layout import Place, pack, panels_of, place_parameters, round_up, unpack
from nbnet.graph.nodes import Node, topological_order
from nbnet.graph.parameters import Parameter
from nbnet.graph.tasks import bounds, tasks_of
from nbnet.kernels.entry import BLOCK
from nbnet.kernels.machine.vectors import DEPTH, ROWS, lanes
from nbnet.kernels.ops import OPS
from nbnet.kernels.records import HEAD, NODE_COLUMNS, NUMBERS, OP_COLUMNS, TASK_COLUMNS
from nbnet.kernels.rows import scratch_for_rows
from nbnet.kernels.user import CustomActivation, activation_row

__all__ = ["Plan", "make_plan"]


@dataclass
class Variable:
    """A row of the node table in the making."""

    name: str
    width: int
    panels: int
    readers: int = 0
    kept: bool = False
    depends: bool = False  # on parameters, or on a node whose gradient is wanted
    value: int = -1
    delta: int = -1


@dataclass
class Instruction:
    """A row of the op table in the making."""

    op: str
    inputs: list[int]
    out: int
    activation: str | CustomActivation | None = None
    numbers: tuple[float, ...] = ()
    pieces: int = 1
    first: int = 0
    parameters: tuple[int, ...] = ()  # positions among all
    add: list[int] = field(default_factory=lambda: [-1, -1])

    @property
    def kind(self) -> str:
        """The name of its activation, or of its op."""
        return self.op if self.activation is None else activation_row(self.activation).name

    @property
    def extra(self) -> bool:
        """Whether it is one of the things that are compiled for those alone who use one."""
        plain = self.activation is None or activation_row(self.activation).plain
        return OPS[self.op].extra or not plain


@dataclass(frozen=True, eq=False)
class Plan:
    """A graph laid out for one dtype and a number of rows; made by `make_plan`.

    Attributes
    ----------
    dtype : float32 or float64
    lanes : int
        V, the width of a panel.
    rows : int
        Rows that the buffers hold, a multiple of the tile's.
    panel : int
        Numbers in a panel of ``work``.
    output : int
        The output's row in `nodes`.
    nodes, ops : int64 arrays, columns ``NODE_COLUMNS`` and ``OP_COLUMNS``
    numbers : (ops, NUMBERS) float64
    general : None or 1
        What kernels get for the argument of that name: None if all ops are plain or extra.
    extras : None or 1
        Likewise: None if nothing is extra.
    tasks : int64 array, columns ``TASK_COLUMNS``
    costs : (tasks,) float64
        About how long each takes, in arbitrary units.
    parameters : tuple of Parameter
    places : tuple of Place
        Where each parameter lies in the engine's vectors.
    natural : bool
        Whether this plan reads parameters in the natural layout.
    n_engine, n_mirror, n_work, n_scratch : int
        Lengths of the engine's parameter vector, of the mirror behind it, of ``work`` and of one
        thread's scratch.
    operations : int
        Floating-point operations per row of a training step (forward alone if not training).
    """

    dtype: np.dtype
    lanes: int
    rows: int
    panel: int
    output: int
    nodes: np.ndarray
    ops: np.ndarray
    numbers: np.ndarray
    general: int | None
    extras: int | None
    tasks: np.ndarray
    costs: np.ndarray
    parameters: tuple[Parameter, ...]
    places: tuple[Place, ...]
    natural: bool
    n_engine: int
    n_mirror: int
    n_work: int
    n_scratch: int
    operations: int
    variables: tuple[Variable, ...]
    instructions: tuple[Instruction, ...]
    _index: dict[int, int]

    def bounds(self, most: int) -> np.ndarray:
        """Shares of the tasks for up to `most` threads, see `nbnet.graph.tasks.bounds`."""
        return bounds(self.costs, most)

    def head(self, **facts: int) -> np.ndarray:
        """The integers of ``HEAD``; `facts` are those that the plan does not know."""
        facts |= {
            "lanes": self.lanes,
            "panel": self.panel,
            "output": self.output,
            "slot": self.n_engine,
        }
        return np.array([int(facts.get(name, 0)) for name in HEAD], dtype=np.int64)

    def pack(self, params: np.ndarray, engine: np.ndarray) -> None:
        """Write natural `params` (P,) to `engine`, and to its mirror if it has room for one."""
        for parameter, place in zip(self.parameters, self.places, strict=True):
            natural = params[parameter.place].reshape(parameter.shape)
            pack(parameter, place, natural, engine, self.lanes)

    def unpack(self, engine: np.ndarray) -> np.ndarray:
        """Natural (P,) copy of an engine vector."""
        n = self.parameters[-1].place.stop if self.parameters else 0
        params = np.empty(n, dtype=self.dtype)
        for parameter, place in zip(self.parameters, self.places, strict=True):
            params[parameter.place] = unpack(parameter, place, engine, self.lanes).ravel()
        return params

    def read(self, work: np.ndarray, node: Node, rows: int, column: str) -> np.ndarray:
        """(rows, width) copy of a kept node's ``"value"`` or ``"delta"``."""
        variable = self.variables[self._index[id(node)]]
        at = getattr(variable, column)
        panels = work[at : at + variable.panels * self.panel].reshape(
            variable.panels, -1, self.lanes
        )
        return panels[:, :rows].swapaxes(0, 1).reshape(rows, -1)[:, : variable.width].copy()


def _table(rows: list[Any], columns: tuple[str, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, len(columns))


def make_plan(
    output: Node,
    dtype: Any,
    rows: int,
    parameters: tuple[Parameter, ...],
    *,
    training: bool = True,
    keep: tuple[Node, ...] = (),
    sparse: bool = False,
    natural: bool = False,
    noise: bool = False,
) -> Plan:
    """Lay out the graph that ends in `output`.

    Parameters
    ----------
    output : Node
    dtype : float32 or float64
    rows : int
        Rows that the buffers must hold: of a batch, or of all threads' blocks in a forward pass.
    parameters : tuple of Parameter
    training : bool, default=True
        Whether gradients are wanted at all; a forward pass needs half the buffers.
    keep : tuple of Node, default=()
        Nodes whose values and gradients must survive the step, to be read by `Plan.read`.
    sparse : bool, default=False
        Whether X is CSR: dense ops then read its rows directly.
    natural : bool, default=False
        For a forward pass over one row (`rows` = 1), without maxout: parameters are read in the
        natural layout, for to change it would take longer than the pass.
    noise : bool, default=False
        Whether ops that are there for training alone, such as dropout, do what they are for;
        otherwise such a node is its input.
    """
    return _Draft(
        output, np.dtype(dtype), rows, parameters, training, keep, sparse, natural, noise
    ).finish()


class _Draft:
    """A plan in the making; parameters as `make_plan`."""

    def __init__(
        self,
        output: Node,
        dtype: np.dtype,
        rows: int,
        parameters: tuple[Parameter, ...],
        training: bool,
        keep: tuple[Node, ...],
        sparse: bool,
        natural: bool,
        noise: bool,
    ):
        self.lanes = lanes(dtype)
        self.one_row = rows == 1
        self.rows = rows if natural else round_up(rows, ROWS)
        # One row more than needed: panels then do not all start in the same cache set.
        self.panel = (self.rows + (not natural)) * self.lanes
        self.natural = natural
        self.dtype = dtype
        self.parameters = parameters
        self.training = training
        self.sparse = sparse
        self.noise = noise
        self._variables: list[Variable] = []
        self._instructions: list[Instruction] = []
        self._index: dict[int, int] = {}
        self._translate(topological_order(output), {id(node) for node in keep})
        self.output = self._index[id(output)]
        self._place_nodes()
        self._place_parameters()

    # --- Graph to ops

    def _variable(self, name: str, width: int, panels: int | None = None, **facts: bool) -> int:
        panels = panels_of(width, self.lanes) if panels is None else panels
        self._variables.append(Variable(name, width, panels, **facts))
        return len(self._variables) - 1

    def _dense(self, inputs: list[int], columns: int) -> str:
        narrow = "narrow_" if columns <= DEPTH and inputs != [self.input] else ""
        if self.natural:
            return f"{narrow}row_dense"
        return "sparse_dense" if self.sparse and inputs == [self.input] else f"{narrow}dense"

    def _translate(self, order: list[Node], keep: set[int]) -> None:
        owned: dict[int, list[int]] = {}
        for i, parameter in enumerate(self.parameters):
            owned.setdefault(parameter.node, []).append(i)
        for place, node in enumerate(order):
            inputs = [self._index[id(parent)] for parent in node.inputs]
            name = node.name or f"{node.kind}_{len(self._variables)}"
            kept = id(node) in keep
            silent = OPS[node.op].training_only and not self.noise
            if silent and not kept:
                self._index[id(node)] = inputs[0]
                continue
            parameters = tuple(owned.get(place, ()))
            depends = kept or bool(parameters) or any(self._variables[i].depends for i in inputs)
            op = node.op
            if op == "maxout":
                panels = node.pieces * panels_of(node.width, self.lanes)
                pieces = self._variable(
                    f"{name}.pieces", panels * self.lanes, panels, depends=depends
                )
                dense = self._dense(inputs, panels * self.lanes)
                self._instructions.append(Instruction(dense, inputs, pieces, parameters=parameters))
                inputs, parameters = [pieces], ()
            # A node that is asked for has a value and a gradient of its own, whatever it is for.
            numbers = (0.0,) if silent else tuple(node.numbers.values())
            if op == "layer_norm":
                below = any(self._variables[i].depends for i in inputs)
                normal = self._variable(f"{name}.normal", node.width, depends=below)
                self._instructions.append(
                    Instruction("standardize", inputs, normal, numbers=numbers)
                )
                inputs, numbers = [normal], ()
            out = self._variable(name, node.width, kept=kept, depends=depends)
            self._index[id(node)] = out
            if op == "input":
                self.input = out
                self._instructions.append(
                    Instruction("sparse_input" if self.sparse else "input", [], out)
                )
            elif op == "concat":
                first = 0
                for i, parent in zip(inputs, node.inputs, strict=True):
                    self._instructions.append(Instruction("concat", [i], out, first=first))
                    first += parent.width
            else:
                step = Instruction(
                    self._dense(inputs, node.width) if op == "dense" else op,
                    inputs,
                    out,
                    activation=node.activation,
                    numbers=numbers,
                    pieces=node.pieces,
                    parameters=parameters,
                )
                self._instructions.append(step)
        if (
            self.sparse
            and self.input != out
            and all(
                step.op == "sparse_dense"
                for step in self._instructions
                if self.input in step.inputs
            )
        ):  # X need not be laid out
            self._instructions = [step for step in self._instructions if step.op != "sparse_input"]
        for step in self._instructions:
            for i in step.inputs:
                self._variables[i].readers += 1

    # --- Places

    def _place_nodes(self) -> None:
        """Give each node its buffers; let an activation overwrite what nobody else reads."""
        at = self.lanes  # a row of zeros at the head, from which sums start
        over: dict[int, Variable] = {}  # the z whose gradient, and with luck value, h overwrites
        reused: set[int] = set()
        needed = {self.input}  # on the way back, by the op that made it
        for step in self._instructions:
            if step.activation is not None:
                z, h = self._variables[step.inputs[0]], self._variables[step.out]
                from_value = activation_row(step.activation).derivative_from_value
                if z.readers == 1 and not (z.kept or h.kept):
                    over[step.out] = z
                    if not self.training or (from_value and step.inputs[0] not in needed):
                        reused.add(step.out)
            if step.activation is not None or step.op == "maxout":
                needed.add(step.out)
        for i, variable in enumerate(self._variables):
            if i in reused:
                variable.value = over[i].value
            else:
                variable.value = at
                at += variable.panels * self.panel
            if self.training and (variable.depends or i == self.output):
                if i in over and over[i].delta >= 0:
                    variable.delta = over[i].delta
                else:
                    variable.delta = at
                    at += variable.panels * self.panel
        self.n_work = at
        if not self.training:
            return
        written: set[int] = set()
        for step in reversed(self._instructions):
            for side, i in enumerate(step.inputs):
                if self._variables[i].depends:
                    step.add[side] = int(i in written)
                    written.add(i)

    def _place_parameters(self) -> None:
        if self.natural:
            self.places = [Place(parameter.start, 0) for parameter in self.parameters]
            self.n_engine = self.n_mirror = 0
            return
        reader = {i: step for step in self._instructions for i in step.parameters}
        readers = [reader[i] for i in range(len(self.parameters))]
        self.places, self.n_engine, self.n_mirror = place_parameters(
            self.parameters,
            self.lanes,
            narrow=[step.op == "narrow_dense" for step in readers],
            mirrored=[step.add[0] >= 0 for step in readers],
            one_row=self.one_row,
        )

    def _tasks(self) -> tuple[np.ndarray, np.ndarray]:
        owned = [
            (
                k,
                [(self.parameters[i], self.places[i]) for i in step.parameters],
                self._variables[step.out].panels,
                step.op == "sparse_dense",
            )
            for k, step in enumerate(self._instructions)
            if step.parameters and self.training
        ]
        return tasks_of(owned, self.rows)

    def _operations(self) -> int:
        """Of a row: products with weights, forward, for their gradient, and on the way back."""
        total = 0
        for step in self._instructions:
            for i in step.parameters:
                if len(self.parameters[i].shape) == 2:
                    passes = 1 + self.training + (step.add[0] >= 0)
                    total += 2 * math.prod(self.parameters[i].shape) * passes
        return total

    def finish(self) -> Plan:
        """Write the tables."""
        rows, numbers = [], np.zeros((len(self._instructions), NUMBERS))
        for k, step in enumerate(self._instructions):
            row = dict.fromkeys(OP_COLUMNS, 0)
            row |= {
                "code": OPS[step.op].code,
                "in_0": step.inputs[0] if step.inputs else -1,
                "in_1": step.inputs[-1] if step.inputs else -1,
                "out": step.out,
                "add_0": step.add[0],
                "add_1": step.add[1],
                "pieces": step.pieces,
                "first": step.first,
                "mirror": -1,
            }
            if step.activation is not None:
                activation = activation_row(step.activation)
                row |= {
                    "activation": activation.code,
                    "from_value": activation.derivative_from_value,
                    "restore": not activation.zero_at_zero,
                }
            if isinstance(step.activation, CustomActivation):
                value, derivative = step.activation.addresses(self.dtype, self.training)
                row |= {"value_address": value, "derivative_address": derivative}
            for column, i in zip(("weights", "bias"), step.parameters, strict=False):
                row[column] = self.places[i].at
            if step.parameters:
                place = self.places[step.parameters[0]]
                row |= {"mirror": place.mirror, "inputs": place.inputs, "columns": place.columns}
            rows.append([row[column] for column in OP_COLUMNS])
            numbers[k, : len(step.numbers)] = step.numbers
        tasks, costs = self._tasks()
        ops = [OPS[step.op] for step in self._instructions]
        height, width = TASK_COLUMNS.index("rows"), TASK_COLUMNS.index("panels")
        return Plan(
            dtype=self.dtype,
            lanes=self.lanes,
            rows=self.rows,
            panel=self.panel,
            output=self.output,
            nodes=_table(
                [[getattr(v, column) for column in NODE_COLUMNS] for v in self._variables],
                NODE_COLUMNS,
            ),
            ops=_table(rows, OP_COLUMNS),
            numbers=numbers,
            general=1 if any(not (op.plain or op.extra) for op in ops) else None,
            extras=1 if any(step.extra for step in self._instructions) else None,
            tasks=tasks,
            costs=costs,
            parameters=self.parameters,
            places=tuple(self.places),
            natural=self.natural,
            n_engine=self.n_engine,
            n_mirror=self.n_mirror,
            n_work=self.n_work,
            n_scratch=max(
                scratch_for_rows(BLOCK, self._variables[self.output].width),
                (BLOCK + ROWS) * self.lanes,
                self.lanes * int((tasks[:, width] * tasks[:, height]).max(initial=1)),
            ),
            operations=self._operations(),
            variables=tuple(self._variables),
            instructions=tuple(self._instructions),
            _index=self._index,
        )
