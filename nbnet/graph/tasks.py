"""The tasks of phase 2: who computes the gradient of which parameters, and updates them.

A task is a tile of a weight matrix, as large as the first-level cache allows, or some of a
parameter with a number for each output column. Each thread gets tasks of about equal cost in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nbnet.kernels.compile.jit import interpreted
from nbnet.kernels.gradient import TASK_ROWS
from nbnet.kernels.machine.vectors import DEPTH
from nbnet.kernels.optimizers import GROUPS
from nbnet.kernels.products import NARROW_PANELS, panels_at_once
from nbnet.kernels.records import (
    NARROW_TASK,
    ROW_TASK,
    SPARSE_TASK,
    TASK_COLUMNS,
    WEIGHTS_TASK,
)

if TYPE_CHECKING:
    from nbnet.graph.layout import Place
    from nbnet.graph.parameters import Parameter

__all__ = ["bounds", "tasks_of"]

_GROUP_OF = {name: i for i, name in enumerate(GROUPS)}


def _of_row(place: Place, first: int, panels: int, rows: int) -> tuple[dict[str, int], float]:
    """Some panels of a parameter with a number for each output column."""
    return {"panel": first, "panels": panels, "kind": ROW_TASK}, panels * 4 * rows


def _of_matrix(
    place: Place, first: int, panels: int, rows: int, sparse: bool
) -> Iterator[tuple[dict[str, int], float]]:
    """Tiles of some panels of a weight matrix."""
    height = place.inputs if sparse else TASK_ROWS
    for row in range(0, place.inputs, height):
        some = min(height, place.inputs - row)
        kind = SPARSE_TASK if sparse else WEIGHTS_TASK
        task = {"panel": first, "panels": panels, "row": row, "rows": some, "kind": kind}
        yield task, panels * some * (rows + 30)


def _of_narrow(place: Place, rows: int) -> Iterator[tuple[dict[str, int], float]]:
    """Panels of the transposed weights of a layer of few units, which are those of its input."""
    for first in range(0, place.panels, NARROW_PANELS):
        n = min(NARROW_PANELS, place.panels - first)
        yield (
            {"panel": first, "panels": n, "rows": DEPTH, "kind": NARROW_TASK},
            (n * DEPTH * (rows + 30)),
        )


def tasks_of(
    owned: list[tuple[int, list[tuple[Parameter, Place]], int, bool]], rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """All tasks and about how long each takes, in arbitrary units.

    Parameters
    ----------
    owned : list of tuple
        For each op with parameters: its row in the plan's ops, its parameters and their places,
        the panels of its output, and whether it reads CSR rows.
    rows : int
        Rows that the buffers hold.

    Returns
    -------
    tasks : int64 array, columns ``TASK_COLUMNS``
    costs : (tasks,) float64
    """
    tasks: list[list[int]] = []
    costs: list[float] = []

    def add(op: int, which: int, parameter: Parameter, task: tuple[dict[str, int], float]) -> None:
        facts, cost = task
        facts |= {"op": op, "parameter": which, "group": _GROUP_OF[parameter.group]}
        tasks.append([facts.get(column, 0) for column in TASK_COLUMNS])
        costs.append(cost)

    for op, parameters, panels, sparse in owned:
        for which, (parameter, place) in enumerate(parameters):
            if place.narrow:
                for task in _of_narrow(place, rows):
                    add(op, which, parameter, task)
        first = 0
        while first < panels:
            n = 1 if sparse else interpreted(panels_at_once)(panels - first)
            for which, (parameter, place) in enumerate(parameters):
                if place.narrow:
                    continue
                if place.inputs:
                    for task in _of_matrix(place, first, n, rows, sparse):
                        add(op, which, parameter, task)
                else:
                    add(op, which, parameter, _of_row(place, first, n, rows))
            first += n
    return (
        np.array(tasks, dtype=np.int64).reshape(-1, len(TASK_COLUMNS)),
        np.array(costs, dtype=np.float64),
    )


def bounds(costs: np.ndarray, most: int) -> np.ndarray:
    """Contiguous shares of the tasks, of about equal cost, for up to `most` threads.

    Of n threads, thread t has tasks ``bounds[n, t]`` to ``bounds[n, t + 1]``.
    """
    done = np.concatenate([[0.0], np.cumsum(costs)])
    shares = np.zeros((most + 1, most + 1), dtype=np.int64)
    for n in range(1, most + 1):
        shares[n, 1:n] = np.searchsorted(done, done[-1] * np.arange(1, n) / n)
        shares[n, n] = len(costs)
    return shares
