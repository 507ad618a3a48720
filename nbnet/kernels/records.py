"""What the plan and the kernels share: the columns of their tables, and the records they pass.

Tables are integers, so that no architecture leads to new machine code. A record is a named tuple of
arrays and numbers that belong together. Python hands an entry point flat arrays, since each type of
record would be one more type to compile for; the entry point builds the records, and kernels pass
them on. ``None`` may not be a field: numba drops a branch on an argument that is ``None``, but not
one on a field.
"""

from collections.abc import Iterable
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

__all__ = [
    "EXTRAS",
    "GROUP_COLUMNS",
    "HEAD",
    "NODE_COLUMNS",
    "NUMBERS",
    "OP_COLUMNS",
    "REPORT",
    "STEP_COLUMNS",
    "TASK_COLUMNS",
    "Block",
    "Noise",
    "Rows",
    "Setting",
    "Tables",
    "Weights",
]

# --- Tables ------------------------------------------------------------------------------------

# A node of the plan.
NODE_COLUMNS = ("width", "panels", "value", "delta")
WIDTH, PANELS, VALUE, DELTA = range(len(NODE_COLUMNS))

# An op of the plan.
OP_COLUMNS = (
    "code",  # of OPS
    "in_0",  # nodes
    "in_1",
    "out",
    "add_0",  # gradient of in_0: -1 not wanted, 0 overwrite, 1 add
    "add_1",
    "activation",  # code of ACTIVATIONS
    "from_value",  # its derivative_from_value
    "restore",  # 1 if it does not leave padding at zero
    "pieces",
    "first",  # concat: first output column
    "weights",  # offsets: first parameter,
    "bias",  # second parameter,
    "mirror",  # and transposed weights, -1 if there are none, = weights if narrow
    "inputs",  # rows of the weight matrix, padded
    "columns",  # its columns, padded: rows of the transposed copy
    "value_address",  # of the functions of a custom activation
    "derivative_address",
)
(
    CODE,
    IN_0,
    IN_1,
    OUT,
    ADD_0,
    ADD_1,
    ACT,
    FROM_VALUE,
    RESTORE,
    PIECES,
    FIRST,
    WEIGHTS,
    BIAS,
    MIRROR,
    INPUTS,
    COLUMNS,
    VALUE_ADDRESS,
    DERIVATIVE_ADDRESS,
) = range(len(OP_COLUMNS))

# Numbers of an op, such as a negative slope, and of a loss, such as a quantile. Of a loss there are
# more where one setting is several numbers.
NUMBERS = 2

# A task of phase 2: some of the parameters of one op.
TASK_COLUMNS = ("op", "panel", "panels", "row", "rows", "kind", "parameter", "group")
(
    TASK_OP,
    TASK_PANEL,
    TASK_PANELS,
    TASK_ROW,
    TASK_N_ROWS,
    TASK_KIND,
    TASK_PARAMETER,
    TASK_GROUP,
) = range(len(TASK_COLUMNS))
# Of a narrow op, panels are those of its input. A row task is of a parameter that has a number for
# each output column.
WEIGHTS_TASK, NARROW_TASK, SPARSE_TASK, ROW_TASK = range(4)

# A group of parameters: what multiplies the learning rate, the L2 penalty, the weight decay.
GROUP_COLUMNS = ("learning_rate", "penalty", "decay")
G_LEARNING_RATE, G_PENALTY, G_DECAY = range(len(GROUP_COLUMNS))

# A step of an epoch: what a schedule may change. The last multiplies the rates of dropout.
STEP_COLUMNS = ("learning_rate", "decay", "dropout")
S_LEARNING_RATE, S_DECAY, S_DROPOUT = range(len(STEP_COLUMNS))

# Integers of a plan and a run.
HEAD = (
    "lanes",  # V
    "panel",  # numbers in a panel of `work`
    "targets",  # T
    "output",  # node
    "loss",  # codes
    "optimizer",
    "batch",  # rows
    "rows",  # that the buffers hold
    "slot",  # distance of two optimizer slots
    "whole",  # 1: the gradient is stored, no update follows; 2: one does, once all of it is there
    "seed",  # of the masks of dropout
    "average",  # the slot of the averaged parameters
    "loss_address",  # of the function of a custom loss
)
(
    H_LANES,
    H_PANEL,
    H_TARGETS,
    H_OUTPUT,
    H_LOSS,
    H_OPTIMIZER,
    H_BATCH,
    H_ROWS,
    H_SLOT,
    H_WHOLE,
    H_SEED,
    H_AVERAGE,
    H_LOSS_ADDRESS,
) = range(len(HEAD))

# What `train` reports and continues from.
REPORT = (
    "step",  # steps made so far, Adam's t
    "loss",  # sum over batches of loss * rows
    "rows",  # rows used
)
R_STEP, R_LOSS, R_ROWS = range(len(REPORT))

# What few fits ask for. Nothing of it is compiled for those that do not.
EXTRAS = (
    "clip_norm",  # the largest norm of a gradient; 0 for any
    "average",  # the decay of the averaged parameters; 0 for none
)
E_CLIP_NORM, E_AVERAGE = range(len(EXTRAS))


class Setting(NamedTuple):
    """A number that belongs to a row of a table: of an activation, a loss or an op.

    Attributes
    ----------
    name : str
    default : float
    low, high : float
        Bounds.
    closed : bool
        Whether `low` itself is allowed; `high` never is.
    several : bool
        Whether a strictly increasing sequence of numbers is allowed too.
    """

    name: str
    default: float
    low: float
    high: float
    closed: bool = False
    several: bool = False

    def check(self, value: Any) -> float:
        """Return `value` as a float, or raise an error that names the number."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{self.name} must be a number, got {value!r}")
        number = float(value)
        if not (self.low < number < self.high or (self.closed and number == self.low)):
            least = ">=" if self.closed else ">"
            raise ValueError(
                f"{self.name} must be {least} {self.low:g} and < {self.high:g}, got {value!r}"
            )
        return number

    def read(self, value: Any) -> float | tuple[float, ...]:
        """`check`, or a tuple of floats where there may be `several`."""
        if not self.several or isinstance(value, Real | str) or not isinstance(value, Iterable):
            return self.check(value)
        numbers = tuple(self.check(number) for number in value)
        if not numbers or any(a >= b for a, b in pairwise(numbers)):
            raise ValueError(
                f"{self.name} must be a number or numbers that increase strictly, got {value!r}"
            )
        return numbers


# --- Records -----------------------------------------------------------------------------------


class Tables(NamedTuple):
    """The network: ``HEAD``, then a row for each node and each op, and the ops' numbers."""

    head: Any
    nodes: Any
    ops: Any
    numbers: Any


class Rows(NamedTuple):
    """The rows of X in the buffers: row r holds row ``order[first + r]`` of X, up to `last`.

    `x` is flat, or the data of a CSR matrix, to which `indices` and `indptr` belong. An empty
    `order` is the natural one.
    """

    x: Any
    indices: Any
    indptr: Any
    order: Any
    first: Any
    last: Any


class Noise(NamedTuple):
    """What a mask of dropout depends on, beside node, row and column.

    `first` is where the batch begins, so that its rows are counted from 0; `dropout` multiplies the
    rates.
    """

    seed: Any
    step: Any
    first: Any
    dropout: Any


class Block(NamedTuple):
    """The buffer rows `r0` to `r1`, multiples of the tile's, of all values and gradients.

    `v` is the width of a panel, `panel` the distance between two.
    """

    work: Any
    panel: Any
    v: Any
    r0: Any
    r1: Any


class Weights(NamedTuple):
    """Parameters, optimizer state and stored gradient, in the engine's layout.

    Slot s of the parameter at place i lies at ``state[s * slot + i]``.
    """

    params: Any
    state: Any
    stored: Any
    slot: Any
