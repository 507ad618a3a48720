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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbnet.kernels._jit import kernel

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
def _largest(z, n):
    """Index of the largest of the first `n`; that of a NaN if there is one."""
    best = 0
    for i in range(1, n):
        if z[i] > z[best] or z[i] != z[i]:
            best = i
    return best


@kernel
def value_and_gradient(code, z, n, y, y_at, gradient):
    """Loss of one row, its gradient written to `gradient`.

    Parameters
    ----------
    code : int
    z : (>= n,) raw outputs of the row
    n : int
        R, the number of raw outputs.
    y : flat targets of all rows
    y_at : int
        Where this row's targets begin.
    gradient : (>= n,) written

    Returns
    -------
    float
        The row's loss, in the dtype of `z`.
    """
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    total = zero
    if code == SOFTMAX_CROSS_ENTROPY:
        target = int(y[y_at])
        best = _largest(z, n)
        top = z[best]
        others = zero  # all but the largest: log1p keeps a small loss exact
        for i in range(n):
            e = np.exp(z[i] - top)
            gradient[i] = e
            if i != best:
                others += e
        scale = one / (one + others)
        for i in range(n):
            gradient[i] *= scale
        gradient[target] -= one
        total = (top - z[target]) + np.log1p(others)
    elif code == SIGMOID_CROSS_ENTROPY:
        for i in range(n):
            e = np.exp(-abs(z[i]))
            positive = z[i] >= zero
            total += z[i] * ((one if positive else zero) - y[y_at + i]) + np.log1p(e)
            gradient[i] = (one if positive else e) / (one + e) - y[y_at + i]
    elif code == HALF_SQUARED_ERROR:
        half = z.dtype.type(0.5)
        for i in range(n):
            d = z[i] - y[y_at + i]
            total += half * d * d
            gradient[i] = d
    elif code == ABSOLUTE_ERROR:
        for i in range(n):
            d = z[i] - y[y_at + i]
            total += abs(d)
            gradient[i] = one if d > zero else (-one if d < zero else d)
    elif code == HALF_POISSON_DEVIANCE:
        for i in range(n):
            mean = np.exp(z[i])
            target_mean = y[y_at + i]
            total += mean - target_mean * z[i]
            if target_mean > zero:
                total += target_mean * np.log(target_mean) - target_mean
            gradient[i] = mean - target_mean
    return total


@kernel
def apply_inverse_link(code, z, n):
    """Replace the `n` raw outputs of one row by the distribution's parameters."""
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    if code == SOFTMAX_CROSS_ENTROPY:
        top = z[_largest(z, n)]
        total = zero
        for i in range(n):
            z[i] = np.exp(z[i] - top)
            total += z[i]
        for i in range(n):
            z[i] /= total
    elif code == SIGMOID_CROSS_ENTROPY:
        for i in range(n):
            e = np.exp(-abs(z[i]))
            z[i] = (one if z[i] >= zero else e) / (one + e)
    elif code == HALF_POISSON_DEVIANCE:
        for i in range(n):
            z[i] = np.exp(z[i])
