"""A small kernel that shows whether `pipeline` still compiles what is written.

The pipeline rests on private parts of numba. Where one of them is gone, an exception says so; where
one has changed its meaning, only the result can. So before the first kernel is compiled in a
process, the functions below are, and their results are compared with what Python makes of them.
They do what kernels do: call a part, count places from either end, take rows of tables, loop, mix
types of numbers, branch on the type of an argument.

All numbers can be represented exactly: results must be equal whatever is fused or reordered.
"""

from __future__ import annotations

import sys

import numpy as np

__all__ = ["disagreement"]


def _functions(decorate):
    """Give the entry function, with what it calls, decorated by ``decorate(function, entry)``."""

    def part(row, factor):
        total = 0
        for i in range(row.size):
            total += row[i] * factor
        return total - row[-1]

    part = decorate(part, False)

    def entry(table, doubles, singles, wide):
        for i in range(singles.size):
            singles[i] = part(table[i], 3)
            doubles[i] = doubles[i + 1] / 4 - singles[i]
        if wide is not None:
            doubles[-1] += wide
        return doubles[0]

    return decorate(entry, True)


def disagreement(decorate):
    """Say how the compiled functions fail, if they do.

    Parameters
    ----------
    decorate : callable
        Compiles a function, which Python calls if the second argument is true.

    Returns
    -------
    str or None
        None if all is well.
    """
    expected, _ = _run(_functions(lambda function, entry: function))
    try:
        found, references = _run(_functions(decorate))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if found != expected:
        return f"a result is {found}, not {expected}"
    if any(references):
        return f"references to arrays are left: {references}"
    return None


def _run(entry):
    """What the entry function gives and writes, and how many references to arrays it leaves."""
    arrays = np.arange(12).reshape(4, 3), np.arange(5.0), np.arange(4, dtype=np.float32)
    references = [list(map(sys.getrefcount, arrays))]
    result = float(entry(*arrays, None))
    references.append(list(map(sys.getrefcount, arrays)))
    left = np.diff(references, axis=0)[0].tolist()
    return (result, [array.tolist() for array in arrays]), left
