"""Derivatives that a user hands over, compared with finite differences of what they belong to.

In float64 and in Python, before anything is compiled for the sake of a step. A place where the
differences on both sides disagree is a kink, and is not judged: any value between the two may be
right there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["check_derivative", "check_gradient"]

# A third of the digits of float64: the best step for a central difference.
STEP = 6e-6
# Relative differences above it are taken for a mistake: it is far above the errors of a difference.
TOLERANCE = 1e-4
# Irregular numbers of all sizes, at which activations are not likely to have kinks.
POINTS = [sign * 0.0137 * 1.47**k for k in range(20) for sign in (1.0, -1.0)]
OUTPUTS = 16  # the most raw outputs of a row by which a loss is differentiated


def _number(what: str, function: Callable[..., Any], *arguments: Any, at: str) -> float:
    """What a function returns, as a float; errors name it and the place."""
    try:
        with np.errstate(all="ignore"):
            result = function(*arguments)
    except ArithmeticError:  # compiled code would go on
        return math.nan
    except Exception as error:
        raise TypeError(f"{what} raises {error!r} at {at}") from error
    try:
        if np.ndim(result):
            raise TypeError  # old NumPy would make a number of an array of one
        return float(result)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must return a number; at {at} it returns {result!r}") from None


def _wrong(derivative: float, below: float, here: float, above: float, step: float, least: float):
    """The central difference if `derivative` is another number, None if it agrees or at a kink."""
    difference = (above - below) / (2 * step)
    allowed = TOLERANCE * max(abs(derivative), abs(difference), least)
    allowed += 1e-15 * max(abs(below), abs(above)) / step  # what rounding does to a difference
    if abs(derivative - difference) <= allowed:
        return None
    kink = abs((above - here) - (here - below)) / step > allowed
    return None if kink else difference


def check_derivative(
    what: str, value: Callable[[float], Any], derivative: Callable[[float], Any]
) -> None:
    """Compare `derivative` with differences of `value`, both functions of one number.

    Parameters
    ----------
    what : str
        The activation, for messages.
    value, derivative : callable

    Raises
    ------
    ValueError
        If the two do not agree, or one is not finite at zero or another ordinary point.
    TypeError
        If one of them raises an error or returns no number.
    """
    found = {}
    for z in (0.0, *POINTS):
        for name, function in (("value", value), ("derivative", derivative)):
            number = _number(f"the {name} of {what}", function, z, at=f"z={z:.6g}")
            if not math.isfinite(number):
                raise ValueError(
                    f"the {name} of {what} must be finite at all ordinary numbers; at z={z:.6g} it "
                    f"is {number}"
                )
            found[name, z] = number
    least = 0.01 * max(abs(found["derivative", z]) for z in POINTS)
    for z in POINTS:
        step = STEP * (1 + abs(z))
        sides = [
            _number(f"the value of {what}", value, z + h, at=f"z={z + h:.6g}")
            for h in (-step, step)
        ]
        if not all(map(math.isfinite, sides)):
            continue
        wrong = _wrong(found["derivative", z], sides[0], found["value", z], sides[1], step, least)
        if wrong is not None:
            raise ValueError(
                f"the derivative of {what} is not that of its value: at z={z:.6g} it returns "
                f"{found['derivative', z]:.6g}, but a finite difference of the value is {wrong:.6g}"
            )


def check_gradient(
    what: str,
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], Any],
    raw: np.ndarray,
    targets: np.ndarray,
) -> None:
    """Compare the gradient that a loss writes with differences of its value.

    At the raw outputs of each row, and at a random place near them.

    Parameters
    ----------
    what : str
        The loss, for messages.
    function : callable
        Of the raw outputs (R,) of a row, its targets (T,), and the gradient (R,), which it writes.
    raw : (rows, R) array
    targets : (rows, T) array

    Raises
    ------
    ValueError
        If the two do not agree, or the loss of a row is not finite to begin with.
    TypeError
        If it raises an error or returns no number.
    """
    random = np.random.RandomState(0)
    for z, y in zip(raw.astype(np.float64), targets.astype(np.float64), strict=True):
        near = z + random.standard_normal(len(z)) * (0.1 + 0.3 * np.abs(z))
        _check_row(what, function, z, y, random, first=True)
        _check_row(what, function, near, y, random, first=False)


def _check_row(
    what: str, function: Any, z: np.ndarray, y: np.ndarray, random: Any, first: bool
) -> None:
    def evaluate(there: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.zeros(len(z))
        at = f"z={_short(there)}, y={_short(y)}"
        return _number(what, function, there.copy(), y.copy(), gradient, at=at), gradient

    here, gradient = evaluate(z)
    if not (math.isfinite(here) and np.isfinite(gradient).all()):
        if not first:
            return
        raise ValueError(
            f"{what} must be finite where the training begins; at z={_short(z)}, y={_short(y)} it "
            f"returns {here}, and its gradient is {_short(gradient)}"
        )
    least = 0.01 * np.abs(gradient).max()
    for i in random.permutation(len(z))[:OUTPUTS]:
        step = STEP * (1 + abs(z[i]))
        sides = []
        for h in (-step, step):
            there = z.copy()
            there[i] += h
            sides.append(evaluate(there)[0])
        if not all(map(math.isfinite, sides)):
            continue
        wrong = _wrong(gradient[i], sides[0], here, sides[1], step, least)
        if wrong is not None:
            raise ValueError(
                f"the gradient of {what} is not that of its value: at z={_short(z)}, y={_short(y)} "
                f"it writes gradient[{i}]={gradient[i]:.6g}, but a finite difference of the value "
                f"is {wrong:.6g}"
            )


def _short(array: np.ndarray) -> str:
    return np.array2string(array, precision=6, threshold=8, edgeitems=3)
