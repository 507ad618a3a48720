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
gelu           z Phi(z)                              Phi(z) + z phi(z)
silu           z s(z)                                s(z) + z s(z) s(-z)
elu            z if z > 0 else exp(z) - 1            1 if z > 0 else 1 + h       0, of g''
selu           L z if z > 0 else L A (exp(z) - 1)    L if z > 0 else L A + h     0
mish           z t, t = tanh(softplus(z))            t + z (1 - t^2) s(z)
=============  ====================================  ==========================  ================

`a` is ``negative_slope``. Phi and phi are the distribution function and the density of the standard
normal distribution, s is the logistic function. A and L are the constants that keep mean 0 and
variance 1 from layer to layer (Klambauer et al., 2017, "Self-normalizing neural networks", equation
14). Maxout is not elementwise: it lives in `ops`.

To add one: its row in ``ACTIVATIONS``, its branch in `activate` and in `multiply_by_derivative`,
its name in `ActivationName`. The function of `nbnet.graph`, the estimators' parameter checks and
documentation and the tests follow from the row.

a. Both functions work in place on slices. A loop whose input and output may overlap is not
   vectorised, nor is one that adds an offset to its index (numba must then allow for a negative
   sum, which would wrap around).
b. ``derivative_from_value`` says that the derivative is a function of h alone; then h may overwrite
   z, and a layer needs one buffer less.
c. exp, expm1, log1p, ndtr (that is Phi) and tanh are those of `elementary`, which a vectorised loop
   may contain.
d. Comparisons are written so that NaN passes through: a NaN is never taken for zero.
e. Branches under ``extras is not None`` are compiled only for networks that have an activation
   which is not plain (see ``Activation.plain`` and note f. of `ops`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.elementary import exp, expm1, log1p, ndtr, tanh
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
    "identity", "logistic", "tanh", "relu", "leaky_relu", "abs", "softplus",
    "gelu", "silu", "elu", "selu", "mish",
]  # for type checkers: the keys of ACTIVATIONS  # fmt: skip

IDENTITY, LOGISTIC, TANH, RELU, LEAKY_RELU, ABS, SOFTPLUS = range(7)
GELU, SILU, ELU, SELU, MISH = range(7, 12)

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_TAIL = SELU_SCALE * SELU_ALPHA
DENSITY_AT_0 = 1.0 / math.sqrt(2.0 * math.pi)  # of the standard normal distribution
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
    lecun : bool
        Whether initial weights are normal with variance 1 / fan_in, and biases 0, instead (LeCun
        et al., 1998, "Efficient BackProp", section 4.6).
    kinks : tuple of float
        Where the derivative, or the derivative of that, jumps; a finite difference must not step
        over these.
    derivative_from_value : bool
        Whether the derivative is a function of h, so that z need not be kept.
    zero_at_zero : bool
        Whether g(0) = 0: padding then stays zero by itself.
    settings : tuple of Setting
        The numbers that it takes beside z, at most ``NUMBERS``.
    plain : bool
        Whether it is compiled for every network, or only where something that is not plain is used.
    """

    name: str
    code: int
    formula: str
    gain: float = 6.0
    lecun: bool = False
    kinks: tuple[float, ...] = ()
    derivative_from_value: bool = True
    zero_at_zero: bool = True
    settings: tuple[Setting, ...] = ()
    plain: bool = False


ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("identity", IDENTITY, "z", plain=True),
        Activation(
            "logistic", LOGISTIC, "1 / (1 + exp(-z))", gain=2.0, zero_at_zero=False, plain=True
        ),
        Activation("tanh", TANH, "tanh(z)", plain=True),
        Activation("relu", RELU, "max(0, z)", kinks=(0.0,), plain=True),
        Activation(
            "leaky_relu",
            LEAKY_RELU,
            "max(0, z) + negative_slope * min(0, z)",
            kinks=(0.0,),
            settings=(Setting("negative_slope", 0.01, 0.0, math.inf, closed=True),),
            plain=True,
        ),
        Activation("abs", ABS, "|z|", kinks=(0.0,), derivative_from_value=False, plain=True),
        Activation("softplus", SOFTPLUS, "log(1 + exp(z))", zero_at_zero=False, plain=True),
        # Those like a smooth ReLU start as ReLU does, so that one can be tried for the other.
        Activation(
            "gelu",
            GELU,
            "z * Phi(z), Phi(z) = (1 + erf(z / sqrt(2))) / 2",
            derivative_from_value=False,
        ),
        Activation("silu", SILU, "z / (1 + exp(-z))", derivative_from_value=False),
        Activation("elu", ELU, "z if z > 0 else exp(z) - 1", kinks=(0.0,)),
        Activation(
            "selu",
            SELU,
            f"{SELU_SCALE:.6f} * (z if z > 0 else {SELU_ALPHA:.6f} * (exp(z) - 1))",
            lecun=True,
            kinks=(0.0,),
        ),
        Activation("mish", MISH, "z * tanh(log(1 + exp(z)))", derivative_from_value=False),
    )
}


@kernel
def activate(code, h, number, extras):
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
    elif extras is not None:
        if code == GELU:
            for i in range(h.size):
                h[i] *= ndtr(h[i])
        elif code == SILU:
            for i in range(h.size):
                z = h[i]
                e = exp(-abs(z))
                h[i] = z * ((one if z >= zero else e) / (one + e))
        elif code == ELU:
            for i in range(h.size):
                h[i] = h[i] if h[i] > zero else expm1(h[i])
        elif code == SELU:
            scale, tail = h.dtype.type(SELU_SCALE), h.dtype.type(SELU_TAIL)
            for i in range(h.size):
                h[i] = scale * h[i] if h[i] > zero else tail * expm1(h[i])
        elif code == MISH:
            two = one + one
            for i in range(h.size):  # tanh(log(u)) = (u^2 - 1) / (u^2 + 1), with exp(-|z|) alone
                z = h[i]
                e = exp(-abs(z))
                up = z >= zero
                n = one + (e + e) if up else e * (e + two)
                h[i] = z * (n / (n + (two * e * e if up else two)))


@kernel
def multiply_by_derivative(code, d, h, number, extras):
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
    elif extras is not None:
        if code == GELU:
            half, top = d.dtype.type(0.5), d.dtype.type(DENSITY_AT_0)
            for i in range(d.size):
                z = h[i]
                d[i] *= ndtr(z) + z * (top * exp(-half * (z * z)))
        elif code == SILU:
            for i in range(d.size):
                z = h[i]
                e = exp(-abs(z))
                u = one + e
                d[i] *= (one if z >= zero else e) / u + z * (e / (u * u))
        elif code == ELU:
            for i in range(d.size):
                d[i] *= one if h[i] > zero else one + h[i]
        elif code == SELU:
            scale, tail = d.dtype.type(SELU_SCALE), d.dtype.type(SELU_TAIL)
            for i in range(d.size):
                d[i] *= scale if h[i] > zero else tail + h[i]
        elif code == MISH:
            two = one + one
            for i in range(d.size):  # t = n / u, 1 - t^2 = m (n + u) / u^2
                z = h[i]
                e = exp(-abs(z))
                up = z >= zero
                n = one + (e + e) if up else e * (e + two)
                m = two * e * e if up else two
                u = n + m
                s = (one if up else e) / (one + e)
                d[i] *= n / u + z * s * (m * (n + u) / (u * u))
