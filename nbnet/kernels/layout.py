"""The integer tables that the plan writes and kernels read: their columns, in one place."""

__all__ = ["HEAD", "NODE_COLUMNS", "OP_COLUMNS", "RATES", "TASK_COLUMNS"]

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
    "from_value",  # its slope_from_value
    "restore",  # 1 if it does not leave padding at zero
    "pieces",
    "first",  # concat: first output column
    "weights",  # offsets: parameters,
    "bias",
    "mirror",  # and transposed weights, -1 if there are none, = weights if narrow
    "inputs",  # rows of the weight matrix, padded
    "columns",  # its columns, padded: rows of the transposed copy
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
) = range(len(OP_COLUMNS))

# A task of phase 2.
TASK_COLUMNS = ("op", "panel", "panels", "row", "rows", "kind")
TASK_OP, TASK_PANEL, TASK_PANELS, TASK_ROW, TASK_N_ROWS, TASK_KIND = range(len(TASK_COLUMNS))
# Of a narrow op, panels are those of its input.
WEIGHTS_TASK, NARROW_TASK, SPARSE_TASK, BIAS_TASK = range(4)

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
) = range(len(HEAD))

# Floats of a run: what `train` reads, then what it reports.
RATES = (
    "learning_rate",
    "alpha",
    "step",  # Adam's t, continued
    "setting",  # of the loss
    "loss",  # sum over batches of loss * rows
    "rows",  # rows used
)
R_LEARNING_RATE, R_ALPHA, R_STEP, R_SETTING, R_LOSS, R_ROWS = range(len(RATES))
