"""Elementwise hidden units: value and derivative of each (Goodfellow et al., 2016, section 6.3).

=============  ====================================  ==========================  ================
name           h = g(z)                              g'(z)                       kinks
=============  ====================================  ==========================  ================
identity       z                                     1
logistic       1 / (1 + exp(-z))                     h (1 - h)
tanh           tanh(z)                               1 - h^2
relu           max(0, z)                             1 if z > 0 else 0           0
leaky_relu     max(0, z) + a min(0, z)               1 if z > 0 else a           0
abs            |z|                                   sign(z)                     0
softplus       log(1 + exp(z))                       1 - exp(-h)
=============  ====================================  ==========================  ================

`a` is ``negative_slope``. Maxout is not elementwise: it lives in `ops`.

To add one: its row in ``ACTIVATIONS``, its branch in `activate` and in `multiply_by_derivative`,
its name in `ActivationName`. The function of `nbnet.graph`, the estimators' parameter checks and
documentation and the tests follow from the row.

a. Both functions work in place on slices. A loop whose input and output may overlap is not
   vectorised, nor is one that adds an offset to its index (numba must then allow for a negative
   sum, which would wrap around).
b. ``derivative_from_value`` says that the derivative is a function of h alone; then h may overwrite
   z, and a layer needs one buffer less.
c. exp, log1p and tanh are those of `_elementary`, which a vectorised loop may contain.
d. Comparisons are written so that NaN passes through: a NaN is never taken for zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.elementary import exp, log1p, tanh
from nbnet.kernels.records import Setting

__all__ = [
    "ACTIVATIONS",
    "CUSTOM_ACTIVATION",
    "Activation",
    "ActivationName",
    "activate",
    "multiply_by_derivative",
]

ActivationName = Literal[
    "identity", "logistic", "tanh", "relu", "leaky_relu", "abs", "softplus"
]  # for type checkers: the keys of ACTIVATIONS

IDENTITY, LOGISTIC, TANH, RELU, LEAKY_RELU, ABS, SOFTPLUS = range(7)
CUSTOM_ACTIVATION = -1  # of the user's: `ops` calls its functions by their addresses


@dataclass(frozen=True)
class Activation:
    """A row of ``ACTIVATIONS``: all that other code would have to know.

    Attributes
    ----------
    name : str
    code : int
        What compiled code calls it.
    formula : str
        h as a function of z, for documentation.
    gain : float
        Initial parameters are uniform in +-sqrt(gain / (fan_in + fan_out)) (Glorot and Bengio,
        2010; 2 for the logistic function, as in scikit-learn).
    kinks : tuple of float
        Where the derivative jumps; a finite difference must not step over these.
    derivative_from_value : bool
        Whether the derivative is a function of h, so that z need not be kept.
    zero_at_zero : bool
        Whether g(0) = 0: padding then stays zero by itself.
    settings : tuple of Setting
        The numbers that it takes beside z, at most ``NUMBERS``.
    """

    name: str
    code: int
    formula: str
    gain: float = 6.0
    kinks: tuple[float, ...] = ()
    derivative_from_value: bool = True
    zero_at_zero: bool = True
    settings: tuple[Setting, ...] = ()


ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("identity", IDENTITY, "z"),
        Activation("logistic", LOGISTIC, "1 / (1 + exp(-z))", gain=2.0, zero_at_zero=False),
        Activation("tanh", TANH, "tanh(z)"),
        Activation("relu", RELU, "max(0, z)", kinks=(0.0,)),
        Activation(
            "leaky_relu",
            LEAKY_RELU,
            "max(0, z) + negative_slope * min(0, z)",
            kinks=(0.0,),
            settings=(Setting("negative_slope", 0.01, 0.0, math.inf, closed=True),),
        ),
        Activation("abs", ABS, "|z|", kinks=(0.0,), derivative_from_value=False),
        Activation("softplus", SOFTPLUS, "log(1 + exp(z))", zero_at_zero=False),
    )
}


@kernel
def activate(code, h, number):
    """``h = g(h)`` for a run of contiguous numbers `h`; `number` is the first of its settings."""
    one = h.dtype.type(1)
    zero = h.dtype.type(0)
    if code == LOGISTIC:
        for i in range(h.size):
            e = exp(-abs(h[i]))  # never overflows
            h[i] = (one if h[i] >= zero else e) / (one + e)
    elif code == TANH:
        for i in range(h.size):
            h[i] = tanh(h[i])
    elif code == RELU:
        for i in range(h.size):
            h[i] = zero if h[i] < zero else h[i]
    elif code == LEAKY_RELU:
        a = h.dtype.type(number)
        for i in range(h.size):
            h[i] = a * h[i] if h[i] < zero else h[i]
    elif code == ABS:
        for i in range(h.size):
            h[i] = abs(h[i])
    elif code == SOFTPLUS:
        for i in range(h.size):
            z = h[i]
            h[i] = (zero if z < zero else z) + log1p(exp(-abs(z)))


@kernel
def multiply_by_derivative(code, d, h, number):
    """``d *= g'(z)`` for two runs of equal length; `h` holds g(z), or z (see b.)."""
    one = d.dtype.type(1)
    zero = d.dtype.type(0)
    if code == LOGISTIC:
        for i in range(d.size):
            d[i] *= h[i] * (one - h[i])
    elif code == TANH:
        for i in range(d.size):
            d[i] *= one - h[i] * h[i]
    elif code == RELU:
        for i in range(d.size):
            d[i] = zero if h[i] <= zero else d[i]
    elif code == LEAKY_RELU:
        a = d.dtype.type(number)
        for i in range(d.size):
            d[i] *= one if h[i] > zero else a
    elif code == ABS:
        for i in range(d.size):
            d[i] *= one if h[i] > zero else (-one if h[i] < zero else zero)
    elif code == SOFTPLUS:
        half = d.dtype.type(0.5)
        for i in range(d.size):  # 1 - exp(-h), without cancellation where h is small
            t = tanh(half * h[i])
            d[i] *= (t + t) / (one + t)
