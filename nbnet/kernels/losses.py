"""Losses on raw outputs, each the negative log-likelihood of an output distribution.

======================  ============  ===========================  ======================  =========
name                    distribution  value of one row             gradient at z           link^-1
======================  ============  ===========================  ======================  =========
softmax_cross_entropy   multinoulli   logsumexp(z) - z_y           softmax(z) - 1[y]       softmax
sigmoid_cross_entropy   Bernoulli     softplus(z) - y z            sigmoid(z) - y          logistic
half_squared_error      Gaussian      (z - y)^2 / 2                z - y                   identity
absolute_error          Laplace       |z - y|                      sign(z - y)             identity
half_poisson_deviance   Poisson       exp(z) - y z + y log y - y   exp(z) - y              exp
======================  ============  ===========================  ======================  =========

(Goodfellow et al., 2016, section 6.2; for y in {0, 1} the second is softplus((1 - 2y) z).) Values
are summed over the outputs of a row, so that value and gradient agree; rows are weighted and
averaged in one place, `step`.

To add one: its row in ``LOSSES``, its branch in `value_and_gradient`, and in `apply_inverse_link`
if its link is new.

a. A kernel never sees a probability: the logarithm undoes the saturation of the link before it can
   round to 0 or 1.
b. NaN in a raw output gives NaN in value and gradient.
c. Loops run over the rows of a block, which lie side by side, output by output: so they are
   vectorised for one output as for a thousand. A loop that writes three arrays at once is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbnet.kernels._elementary import exp, log1p
from nbnet.kernels._jit import kernel
from nbnet.kernels._tile import run

__all__ = ["LOSSES", "Loss", "apply_inverse_link", "value_and_gradient"]

(
    SOFTMAX_CROSS_ENTROPY,
    SIGMOID_CROSS_ENTROPY,
    HALF_SQUARED_ERROR,
    ABSOLUTE_ERROR,
    HALF_POISSON_DEVIANCE,
) = range(5)


@dataclass(frozen=True)
class Loss:
    """A row of ``LOSSES``: all that other code would have to know.

    Attributes
    ----------
    name : str
    code : int
        What compiled code calls it.
    link : str
        Name of the inverse link, from raw outputs to the distribution's parameter.
    y_low, y_high : float
        Inclusive range of valid targets.
    integer_targets : bool
        Targets are one column of class indices in [0, R).
    raw_per_target : int
        Raw outputs per target column; 0 where `integer_targets` leaves R free.
    kinks : tuple of float
        Values of z - y where the derivative jumps.
    """

    name: str
    code: int
    link: str
    y_low: float = -np.inf
    y_high: float = np.inf
    integer_targets: bool = False
    raw_per_target: int = 1
    kinks: tuple[float, ...] = ()


LOSSES = {
    row.name: row
    for row in (
        Loss(
            "softmax_cross_entropy",
            SOFTMAX_CROSS_ENTROPY,
            "softmax",
            y_low=0,
            integer_targets=True,
            raw_per_target=0,
        ),
        Loss("sigmoid_cross_entropy", SIGMOID_CROSS_ENTROPY, "logistic", y_low=0, y_high=1),
        Loss("half_squared_error", HALF_SQUARED_ERROR, "identity"),
        Loss("absolute_error", ABSOLUTE_ERROR, "identity", kinks=(0.0,)),
        Loss("half_poisson_deviance", HALF_POISSON_DEVIANCE, "exp", y_low=0),
    )
}


@kernel
def _subtract_largest(z, rows, top):
    """Subtract each row's largest raw output from all of them; the link does not see it.

    A NaN that is not the first is not found the largest, and stays in its place.
    """
    for r in range(rows):
        top[r] = z[r]
    for at in range(rows, z.size, rows):
        column = run(z, at, rows)
        for r in range(rows):
            top[r] = column[r] if column[r] > top[r] else top[r]
    for at in range(0, z.size, rows):
        column = run(z, at, rows)
        for r in range(rows):
            column[r] -= top[r]


@kernel
def value_and_gradient(code, z, y, rows, value, scratch):
    """Losses of a block of rows; their raw outputs are replaced by the gradient.

    Parameters
    ----------
    code : int
    z : (R * rows,) raw outputs, all of the first output in front; changed to their gradient
    y : (T * rows,) targets, likewise
    rows : int
    value : (rows,) written
    scratch : (rows,)
    """
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    for r in range(rows):
        value[r] = zero
    if code == SOFTMAX_CROSS_ENTROPY:
        _subtract_largest(z, rows, scratch)
        others = scratch  # sum of exp(z) but for the target's: log1p keeps a small loss exact
        for r in range(rows):
            others[r] = zero
        for at in range(0, z.size, rows):
            column, unit = run(z, at, rows), z.dtype.type(at // rows)
            for r in range(rows):
                value[r] = -column[r] if y[r] == unit else value[r]
            for r in range(rows):
                column[r] = exp(column[r])
            for r in range(rows):
                others[r] += zero if y[r] == unit else column[r]
        for r in range(rows):
            target = exp(-value[r])
            value[r] += log1p((target - one) + others[r])
            others[r] = one / (target + others[r])
        for at in range(0, z.size, rows):
            column, unit = run(z, at, rows), z.dtype.type(at // rows)
            for r in range(rows):
                column[r] = column[r] * others[r] - (one if y[r] == unit else zero)
        return
    for at in range(0, z.size, rows):  # one output, one target
        raw, target = run(z, at, rows), run(y, at, rows)
        if code == SIGMOID_CROSS_ENTROPY:
            for r in range(rows):
                e = exp(-abs(raw[r]))
                positive = raw[r] >= zero
                value[r] += raw[r] * ((one if positive else zero) - target[r]) + log1p(e)
                raw[r] = (one if positive else e) / (one + e) - target[r]
        elif code == HALF_SQUARED_ERROR:
            half = z.dtype.type(0.5)
            for r in range(rows):
                d = raw[r] - target[r]
                value[r] += half * d * d
                raw[r] = d
        elif code == ABSOLUTE_ERROR:
            for r in range(rows):
                d = raw[r] - target[r]
                value[r] += abs(d)
                raw[r] = one if d > zero else (-one if d < zero else d)
        elif code == HALF_POISSON_DEVIANCE:
            for r in range(rows):
                mean = exp(raw[r])
                value[r] += mean - target[r]
                if target[r] > zero:  # the C library's log: its half ulp shows in a good fit
                    value[r] -= target[r] * (raw[r] - math.log(target[r]))
                raw[r] = mean - target[r]


@kernel
def apply_inverse_link(code, z, rows, scratch):
    """Replace raw outputs by the distribution's parameters; layout as in `value_and_gradient`."""
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    if code == SOFTMAX_CROSS_ENTROPY:
        _subtract_largest(z, rows, scratch)
        total = scratch
        for r in range(rows):
            total[r] = zero
        for at in range(0, z.size, rows):
            column = run(z, at, rows)
            for r in range(rows):
                column[r] = exp(column[r])
            for r in range(rows):
                total[r] += column[r]
        for at in range(0, z.size, rows):
            column = run(z, at, rows)
            for r in range(rows):
                column[r] /= total[r]
    elif code == SIGMOID_CROSS_ENTROPY:
        for i in range(z.size):
            e = exp(-abs(z[i]))
            z[i] = (one if z[i] >= zero else e) / (one + e)
    elif code == HALF_POISSON_DEVIANCE:
        for i in range(z.size):
            z[i] = exp(z[i])
