"""From a graph to offsets: everything compiled code has to know, as integers.

A plan fixes, for one dtype and one number of buffer rows, which op runs when, where the value and
the gradient of each node lie in one flat ``work`` buffer, and where each weight matrix lies in the
engine's parameter vector. No architecture leads to new machine code.

Two layouts of the same P parameters meet here:

*natural*
    What users see: W0, b0, W1, b1, ... with W of shape (fan_in, columns) in C order.
*engine*
    Panels of V columns, rows and columns padded with zeros, maxout pieces piece by piece (see
    `nbnet.kernels._tile` and `nbnet.kernels.ops`), and behind it the ``mirror``: the transposed
    matrices in panels too, for the way back. Of a matrix with few columns there is the transposed
    one alone, and for batches of one row there is no mirror (see `nbnet.kernels.matmul`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbnet.kernels._tile import DEPTH, ROWS, lanes
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.compile.jit import interpreted
from nbnet.kernels.layout import (
    BIAS_TASK,
    HEAD,
    NARROW_TASK,
    NODE_COLUMNS,
    OP_COLUMNS,
    SPARSE_TASK,
    TASK_COLUMNS,
    WEIGHTS_TASK,
)
from nbnet.kernels.matmul import NARROW_PANELS, panels_at_once
from nbnet.kernels.ops import OPS
from nbnet.kernels.step import BLOCK, TASK_ROWS
from nbnet.nodes import Node, topological_order

__all__ = ["ParameterBlock", "Plan", "make_plan", "parameter_blocks"]

DEFAULT_GAIN = 6.0


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _panels(width: int, lanes: int) -> int:
    return -(-width // lanes)


@dataclass(frozen=True)
class ParameterBlock:
    """Weights and bias of one dense or maxout node, in the natural layout.

    Attributes
    ----------
    name : str
    fan_in, units, pieces : int
        The weight matrix is (fan_in, units * pieces); `pieces` is 1 for a dense node.
    gain : float
        Of the activation that follows (see ``Activation.gain``).
    start : int
        Offset of the first weight.
    """

    name: str
    fan_in: int
    units: int
    pieces: int
    gain: float
    start: int

    @property
    def columns(self) -> int:
        """Columns of the weight matrix."""
        return self.units * self.pieces

    @property
    def weights(self) -> slice:
        """Where the weights lie."""
        return slice(self.start, self.start + self.fan_in * self.columns)

    @property
    def bias(self) -> slice:
        """Where the bias lies."""
        return slice(self.weights.stop, self.weights.stop + self.columns)


def parameter_blocks(
    order: list[Node], output_gain: float | None = None
) -> tuple[ParameterBlock, ...]:
    """One block for each dense or maxout node of `order`.

    A block that no activation follows, the output, takes `output_gain`, by default the gain of the
    block before it: as scikit-learn does.
    """
    followers = {
        id(node.inputs[0]): ACTIVATIONS[node.activation]
        for node in order
        if node.activation is not None
    }
    blocks: list[ParameterBlock] = []
    start, gain = 0, DEFAULT_GAIN
    for node in order:
        if node.op not in ("dense", "maxout"):
            continue
        if node.op == "maxout":
            gain = DEFAULT_GAIN
        elif id(node) in followers:
            gain = followers[id(node)].gain
        elif output_gain is not None:
            gain = output_gain
        block = ParameterBlock(
            name=node.name or f"{node.op}_{len(blocks)}",
            fan_in=node.inputs[0].width,
            units=node.width,
            pieces=node.pieces,
            gain=gain,
            start=start,
        )
        blocks.append(block)
        start = block.bias.stop
    return tuple(blocks)


@dataclass
class _Variable:
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
class _Step:
    """A row of the op table in the making."""

    op: str
    inputs: list[int]
    out: int
    activation: str | None = None
    negative_slope: float = 0.0
    pieces: int = 1
    first: int = 0
    block: int = -1
    add: list[int] = field(default_factory=lambda: [-1, -1])


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
    slopes : (ops,) float64
    general : None or 1
        What kernels are told: None if all ops are plain.
    tasks : int64 array, columns ``TASK_COLUMNS``
    costs : (tasks,) float64
        About how long each takes, in arbitrary units.
    blocks : tuple of ParameterBlock
    places : tuple of dict
        Where each block lies in the engine's vectors, and its padded shape.
    n_params : int
        P, natural layout.
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
    slopes: np.ndarray
    general: int | None
    tasks: np.ndarray
    costs: np.ndarray
    blocks: tuple[ParameterBlock, ...]
    places: tuple[dict[str, int], ...]
    n_params: int
    natural: bool
    n_engine: int
    n_mirror: int
    n_work: int
    n_scratch: int
    operations: int
    _variables: tuple[_Variable, ...]
    _steps: tuple[_Step, ...]
    _index: dict[int, int]

    def bounds(self, most: int) -> np.ndarray:
        """Contiguous shares of the tasks, of about equal cost, for up to `most` threads.

        Of n threads, thread t has tasks ``bounds[n, t]`` to ``bounds[n, t + 1]``.
        """
        done = np.concatenate([[0.0], np.cumsum(self.costs)])
        bounds = np.zeros((most + 1, most + 1), dtype=np.int64)
        for n in range(1, most + 1):
            bounds[n, 1:n] = np.searchsorted(done, done[-1] * np.arange(1, n) / n)
            bounds[n, n] = len(self.tasks)
        return bounds

    def head(self, **facts: int) -> np.ndarray:
        """The integers of ``HEAD``; `facts` are those that the plan does not know."""
        facts |= {
            "lanes": self.lanes,
            "panel": self.panel,
            "output": self.output,
            "slot": self.n_engine,
        }
        return np.array([int(facts.get(name, 0)) for name in HEAD], dtype=np.int64)

    # --- Layouts

    def _columns(self, block: ParameterBlock, natural: np.ndarray) -> np.ndarray:
        """(..., columns) in natural order -> (..., panels * V), piece by piece, padded."""
        lead = natural.shape[:-1]
        pieces = natural.reshape(*lead, block.units, block.pieces).swapaxes(-1, -2)
        padded = np.zeros(
            (*lead, block.pieces, _panels(block.units, self.lanes) * self.lanes), dtype=self.dtype
        )
        padded[..., : block.units] = pieces
        return padded.reshape(*lead, -1)

    def _natural_columns(self, block: ParameterBlock, padded: np.ndarray) -> np.ndarray:
        lead = padded.shape[:-1]
        pieces = padded.reshape(*lead, block.pieces, -1)[..., : block.units]
        return pieces.swapaxes(-1, -2).reshape(*lead, block.columns)

    def pack(self, params: np.ndarray, engine: np.ndarray) -> None:
        """Write natural `params` (P,) to `engine`, and to its mirror if it has room for one."""
        v = self.lanes
        mirrored = engine.size >= self.n_engine + self.n_mirror
        for block, place in zip(self.blocks, self.places, strict=True):
            weights = self._columns(
                block, params[block.weights].reshape(block.fan_in, block.columns)
            )
            if not place["narrow"]:
                into = self._weights_view(engine, place)
                into[:, : block.fan_in] = weights.reshape(block.fan_in, -1, v).swapaxes(0, 1)
            if place["narrow"] or (mirrored and place["mirror"] >= 0):
                used = min(place["columns"], weights.shape[1])
                padded = np.zeros(
                    (_panels(block.fan_in, v) * v, place["columns"]), dtype=self.dtype
                )
                padded[: block.fan_in, :used] = weights[:, :used]
                self._mirror_view(engine, block, place)[:] = padded.reshape(
                    -1, v, place["columns"]
                ).swapaxes(1, 2)
            engine[place["bias"] : place["bias"] + place["panels"] * v] = self._columns(
                block, params[block.bias]
            )

    def unpack(self, engine: np.ndarray) -> np.ndarray:
        """Natural (P,) copy of an engine vector."""
        params = np.empty(self.n_params, dtype=self.dtype)
        for block, place in zip(self.blocks, self.places, strict=True):
            if place["narrow"]:
                weights = self._mirror_view(engine, block, place).swapaxes(1, 2)
                weights = weights.reshape(-1, place["columns"])[: block.fan_in, : block.columns]
            else:
                panels = self._weights_view(engine, place)[:, : block.fan_in].swapaxes(0, 1)
                weights = self._natural_columns(block, panels.reshape(block.fan_in, -1))
            params[block.weights] = weights.ravel()
            bias = engine[place["bias"] : place["bias"] + place["panels"] * self.lanes]
            params[block.bias] = self._natural_columns(block, bias)
        return params

    def _weights_view(self, engine: np.ndarray, place: dict[str, int]) -> np.ndarray:
        """(panels, inputs, V) view of one block's weights in an engine vector."""
        return engine[place["weights"] : place["bias"]].reshape(
            place["panels"], place["inputs"], self.lanes
        )

    def _mirror_view(
        self, engine: np.ndarray, block: ParameterBlock, place: dict[str, int]
    ) -> np.ndarray:
        """(panels of the input, columns, V) view of one block's transposed weights."""
        at = place["weights"] if place["narrow"] else place["mirror"]
        panels = _panels(block.fan_in, self.lanes)
        return engine[at : at + panels * place["columns"] * self.lanes].reshape(
            panels, place["columns"], self.lanes
        )

    def read(self, work: np.ndarray, node: Node, rows: int, column: str) -> np.ndarray:
        """(rows, width) copy of a kept node's ``"value"`` or ``"delta"``."""
        variable = self._variables[self._index[id(node)]]
        at = getattr(variable, column)
        panels = work[at : at + variable.panels * self.panel].reshape(
            variable.panels, -1, self.lanes
        )
        return panels[:, :rows].swapaxes(0, 1).reshape(rows, -1)[:, : variable.width].copy()

    # --- For people

    def describe(self) -> str:
        """A table of ops, parameter blocks and buffers, with names, shapes and offsets."""
        name = [variable.name for variable in self._variables]
        lines = [
            f"Plan for {self.dtype}, {self.rows} rows, panels of {self.lanes} columns; "
            f"P = {self.n_params}",
            "",
            "ops",
        ]
        for k, step in enumerate(self._steps):
            sources = ", ".join(name[i] for i in step.inputs)
            kind = step.activation or step.op
            lines.append(f"  {k:3d} {kind:12s} {sources} -> {name[step.out]}")
        lines += ["", "parameter blocks (natural offset, engine offset)"]
        for block, place in zip(self.blocks, self.places, strict=True):
            shape = f"({block.fan_in}, {block.columns})"
            lines.append(
                f"  {block.name + ' weights':24s} {shape:16s} {block.weights.start:10d} "
                f"{place['weights']:10d}"
            )
            lines.append(
                f"  {block.name + ' bias':24s} {f'({block.columns},)':16s} "
                f"{block.bias.start:10d} {place['bias']:10d}"
            )
        lines += ["", "buffers (offset of value, of gradient; -1: none)"]
        for variable in self._variables:
            shape = f"({self.rows}, {variable.width})"
            lines.append(
                f"  {variable.name:24s} {shape:16s} {variable.value:10d} {variable.delta:10d}"
            )
        return "\n".join(lines)


def _table(rows: list[Any], columns: tuple[str, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, len(columns))


def make_plan(
    output: Node,
    dtype: Any,
    rows: int,
    blocks: tuple[ParameterBlock, ...],
    *,
    training: bool = True,
    keep: tuple[Node, ...] = (),
    sparse: bool = False,
    natural: bool = False,
) -> Plan:
    """Lay out the graph that ends in `output`.

    Parameters
    ----------
    output : Node
    dtype : float32 or float64
    rows : int
        Rows that the buffers must hold: of a batch, or of all threads' blocks in a forward pass.
    blocks : tuple of ParameterBlock
    training : bool, default=True
        Whether gradients are wanted at all; a forward pass needs half the buffers.
    keep : tuple of Node, default=()
        Nodes whose values and gradients must survive the step, to be read by `Plan.read`.
    sparse : bool, default=False
        Whether X is CSR: dense ops then read its rows directly.
    natural : bool, default=False
        For a forward pass over one row (`rows` = 1), without maxout: parameters are read in the
        natural layout, for to change it would take longer than the pass.
    """
    return _Draft(output, np.dtype(dtype), rows, blocks, training, keep, sparse, natural).finish()


class _Draft:
    """A plan in the making; parameters as `make_plan`."""

    def __init__(
        self,
        output: Node,
        dtype: np.dtype,
        rows: int,
        blocks: tuple[ParameterBlock, ...],
        training: bool,
        keep: tuple[Node, ...],
        sparse: bool,
        natural: bool,
    ):
        self.lanes = lanes(dtype)
        self.one_row = rows == 1
        self.rows = rows if natural else _round_up(rows, ROWS)
        # One row more than needed: panels then do not all start in the same cache set.
        self.panel = (self.rows + (not natural)) * self.lanes
        self.natural = natural
        self.dtype = dtype
        self.blocks = blocks
        self.training = training
        self.sparse = sparse
        self._variables: list[_Variable] = []
        self._steps: list[_Step] = []
        self._index: dict[int, int] = {}
        self._translate(topological_order(output), {id(node) for node in keep})
        self.output = self._index[id(output)]
        self._place_nodes()
        self._place_parameters()

    # --- Graph to ops

    def _variable(self, name: str, width: int, panels: int | None = None, **facts: bool) -> int:
        panels = _panels(width, self.lanes) if panels is None else panels
        self._variables.append(_Variable(name, width, panels, **facts))
        return len(self._variables) - 1

    def _dense(self, inputs: list[int], columns: int) -> str:
        if self.natural:
            return "row_dense"
        if inputs == [self.input]:
            return "sparse_dense" if self.sparse else "dense"
        return "narrow_dense" if columns <= DEPTH else "dense"

    def _translate(self, order: list[Node], keep: set[int]) -> None:
        block = 0
        for node in order:
            inputs = [self._index[id(parent)] for parent in node.inputs]
            name = node.name or f"{node.activation or node.op}_{len(self._variables)}"
            kept = id(node) in keep
            depends = (
                kept
                or node.op in ("dense", "maxout")
                or any(self._variables[i].depends for i in inputs)
            )
            if node.op == "maxout":
                panels = node.pieces * _panels(node.width, self.lanes)
                pieces = self._variable(
                    f"{name}.pieces", panels * self.lanes, panels, depends=depends
                )
                dense = self._dense(inputs, panels * self.lanes)
                self._steps.append(_Step(dense, inputs, pieces, block=block))
                inputs = [pieces]
            out = self._variable(name, node.width, kept=kept, depends=depends)
            self._index[id(node)] = out
            if node.op == "input":
                self.input = out
                self._steps.append(_Step("sparse_input" if self.sparse else "input", [], out))
            elif node.op == "concat":
                first = 0
                for i, parent in zip(inputs, node.inputs, strict=True):
                    self._steps.append(_Step("concat", [i], out, first=first))
                    first += parent.width
            else:
                self._steps.append(
                    _Step(
                        self._dense(inputs, node.width) if node.op == "dense" else node.op,
                        inputs,
                        out,
                        activation=node.activation,
                        negative_slope=node.negative_slope,
                        pieces=node.pieces,
                        block=block if node.op == "dense" else -1,
                    )
                )
            block += node.op in ("dense", "maxout")
        if (
            self.sparse
            and self.input != out
            and all(step.op == "sparse_dense" for step in self._steps if self.input in step.inputs)
        ):  # X need not be laid out
            self._steps = [step for step in self._steps if step.op != "sparse_input"]
        for step in self._steps:
            for i in step.inputs:
                self._variables[i].readers += 1

    # --- Places

    def _place_nodes(self) -> None:
        """Give each node its buffers; let an activation overwrite what nobody else reads."""
        at = self.lanes  # a row of zeros at the head, from which sums start
        over: dict[int, _Variable] = {}  # the z whose gradient, and with luck value, h overwrites
        reused: set[int] = set()
        needed = {self.input}  # on the way back, by the op that made it
        for step in self._steps:
            if step.activation is not None:
                z, h = self._variables[step.inputs[0]], self._variables[step.out]
                from_value = ACTIVATIONS[step.activation].slope_from_value
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
        for step in reversed(self._steps):
            for side, i in enumerate(step.inputs):
                if self._variables[i].depends:
                    step.add[side] = int(i in written)
                    written.add(i)

    def _place_parameters(self) -> None:
        at = mirror_at = 0
        self.places: list[dict[str, int]] = []
        if self.natural:
            for block in self.blocks:
                place = {"weights": block.weights.start, "bias": block.bias.start, "mirror": -1}
                self.places.append(place)
            self.n_engine = self.n_mirror = 0
            return
        steps = {step.block: step for step in self._steps if step.block >= 0}
        v = self.lanes
        for i, block in enumerate(self.blocks):
            panels = block.pieces * _panels(block.units, v)
            narrow = steps[i].op == "narrow_dense"
            place = {
                "panels": panels,
                "inputs": _round_up(block.fan_in, ROWS),
                "columns": _round_up(block.units, DEPTH) if block.pieces == 1 else panels * v,
                "weights": at,
                "mirror": -1,
                "narrow": int(narrow),
            }
            mirror_size = _panels(block.fan_in, v) * place["columns"] * v
            place["bias"] = at + (mirror_size if narrow else panels * place["inputs"] * v)
            at = place["bias"] + panels * v
            if steps[i].add[0] >= 0 and narrow:
                place["mirror"] = place["weights"]
            elif steps[i].add[0] >= 0 and not self.one_row:
                place["mirror"] = mirror_at
                mirror_at += mirror_size
            self.places.append(place)
        for place in self.places:
            if place["mirror"] >= 0 and not place["narrow"]:
                place["mirror"] += at
        self.n_engine, self.n_mirror = at, mirror_at

    def _tasks(self) -> tuple[np.ndarray, np.ndarray]:
        tasks, costs = [], []
        for k, step in enumerate(self._steps):
            if step.block < 0 or not self.training:
                continue
            place = self.places[step.block]
            sparse = step.op == "sparse_dense"
            panel = 0
            if place["narrow"]:
                inputs = self._variables[step.inputs[0]].panels
                for panel in range(0, inputs, NARROW_PANELS):
                    n = min(NARROW_PANELS, inputs - panel)
                    tasks.append((k, panel, n, 0, DEPTH, NARROW_TASK))
                    costs.append(n * DEPTH * (self.rows + 30))
                panel = 0
            while panel < place["panels"]:
                n = 1 if sparse else interpreted(panels_at_once)(place["panels"] - panel)
                height = place["inputs"] if sparse else TASK_ROWS
                for row in range(0, 0 if place["narrow"] else place["inputs"], height):
                    some = min(height, place["inputs"] - row)
                    kind = SPARSE_TASK if sparse else WEIGHTS_TASK
                    tasks.append((k, panel, n, row, some, kind))
                    costs.append(n * some * (self.rows + 30))
                tasks.append((k, panel, n, 0, 0, BIAS_TASK))
                costs.append(n * 4 * self.rows)
                panel += n
        return _table(tasks, TASK_COLUMNS), np.array(costs, dtype=np.float64)

    def finish(self) -> Plan:
        """Write the tables."""
        rows = []
        for step in self._steps:
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
                activation = ACTIVATIONS[step.activation]
                row |= {
                    "activation": activation.code,
                    "from_value": activation.slope_from_value,
                    "restore": not activation.zero_at_zero,
                }
            if step.block >= 0:
                place = self.places[step.block]
                row |= {key: place[key] for key in OP_COLUMNS if key in place}
            rows.append([row[column] for column in OP_COLUMNS])
        tasks, costs = self._tasks()
        dense = [step for step in self._steps if step.block >= 0]  # in the order of the blocks
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
            slopes=np.array([step.negative_slope for step in self._steps], dtype=np.float64),
            general=None if all(OPS[step.op].plain for step in self._steps) else 1,
            tasks=tasks,
            costs=costs,
            blocks=self.blocks,
            places=tuple(self.places),
            n_params=self.blocks[-1].bias.stop if self.blocks else 0,
            natural=self.natural,
            n_engine=self.n_engine,
            n_mirror=self.n_mirror,
            n_work=self.n_work,
            n_scratch=max(
                (2 * self._variables[self.output].width + 3) * (BLOCK + ROWS),
                (BLOCK + ROWS) * self.lanes,
                self.lanes * int((tasks[:, width] * tasks[:, height]).max(initial=1)),
            ),
            operations=sum(
                2 * block.fan_in * block.columns * (1 + self.training + (step.add[0] >= 0))
                for block, step in zip(self.blocks, dense, strict=True)
            ),
            _variables=tuple(self._variables),
            _steps=tuple(self._steps),
            _index=self._index,
        )
