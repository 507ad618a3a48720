"""Losses on raw outputs, each the negative log-likelihood of an output distribution.

============================  ==================  ===============================  =================
name                          distribution        value of one row                 link^-1
============================  ==================  ===============================  =================
softmax_cross_entropy         multinoulli         logsumexp(z) - z_y               softmax
pinned_softmax_cross_entropy  multinoulli         the same, with z = (0, z)        softmax
sigmoid_cross_entropy         Bernoulli           softplus(z) - y z                logistic
half_squared_error            Gaussian            (z - y)^2 / 2                    identity
absolute_error                Laplace             |z - y|                          identity
half_poisson_deviance         Poisson             exp(z) - y z + y log y - y       exp
quantile                      asymmetric Laplace  max(q (y - z), (1 - q) (z - y))  identity
huber                         Gaussian, but       d^2 / 2 where |d| <= delta,      identity
                              Laplace far out     else delta (|d| - delta / 2)
gaussian                      N(m, exp(2 a))      log(2 pi) / 2 + a + e^2 / 2      identity, exp
full_gaussian                 N(m, (M^T M)^-1)    the same, summed; e = M (y - m)  identity, exp
laplace                       Laplace(m, exp(a))  log 2 + a + |y - m| / exp(a)     identity, exp
clipped_linear_cross_entropy  Bernoulli           -log of p or 1 - p               clip
half_sigmoid_squared_error    none                (sigmoid(z) - y)^2 / 2           logistic
inner_product                 none                z y                              identity
============================  ==================  ===============================  =================

(Goodfellow et al., 2016, section 6.2; for y in {0, 1} the third is softplus((1 - 2y) z).) d is
z - y. Values are summed over the outputs of a row, so that value and gradient agree; rows are
weighted and averaged in one place, `step`.

A scale that is learned takes raw outputs of its own: of 2T, the first T are the means (medians) m,
the others a, the logarithms of the scales; then e = (y - m) / exp(a). A full covariance has
T (T - 1) / 2 more, row by row the entries below the diagonal of the lower triangular M, whose
diagonal is exp(-a): the inverse of the Cholesky factor of the covariance.

Two are there for study only, as the book's examples of output units that fail. The clipped linear
unit, p = max(0, min(1, z)), has no gradient where it is wrong by most; logarithms of 0 are taken of
the smallest normal number. The squared error of a sigmoid has next to none.

To add one: its row in ``LOSSES``, its branch in `value_and_gradient`, and in `apply_inverse_link`
if its link is new.

a. A kernel never sees a probability: the logarithm undoes the saturation of the link before it can
   round to 0 or 1.
b. NaN in a raw output gives NaN in value and gradient.
c. Loops run over the rows of a block, which lie side by side, output by output: so they are
   vectorised for one output as for a thousand. A loop that writes three arrays at once is not.
d. What a first fit does not need is not compiled for it (see ``Loss.plain``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.elementary import exp, log, log1p
from nbnet.kernels.machine.moves import run
from nbnet.kernels.records import Setting

__all__ = ["CUSTOM_LOSS", "LOSSES", "Loss", "apply_inverse_link", "value_and_gradient"]

(
    SOFTMAX_CROSS_ENTROPY,
    SIGMOID_CROSS_ENTROPY,
    HALF_SQUARED_ERROR,
    ABSOLUTE_ERROR,
    HALF_POISSON_DEVIANCE,
    PINNED_SOFTMAX_CROSS_ENTROPY,
    QUANTILE,
    HUBER,
    GAUSSIAN,
    FULL_GAUSSIAN,
    LAPLACE,
    CLIPPED_LINEAR_CROSS_ENTROPY,
    HALF_SIGMOID_SQUARED_ERROR,
    INNER_PRODUCT,
) = range(14)
CUSTOM_LOSS = -1  # of the user's: `rows` calls its function by its address

LOG_2 = math.log(2.0)
HALF_LOG_2_PI = math.log(2.0 * math.pi) / 2.0
TINY_32, TINY_64 = (float(np.finfo(dtype).tiny) for dtype in (np.float32, np.float64))


@dataclass(frozen=True)
class Loss:
    """A row of ``LOSSES``: all that other code would have to know.

    Attributes
    ----------
    name : str
    code : int
        What compiled code calls it.
    link : str
        Name of the inverse link, from raw outputs to the distribution's parameters.
    y_low, y_high : float
        Inclusive range of valid targets.
    integer_targets : bool
        Targets are one column of class indices.
    pinned : bool
        The first class has no raw output: its logit is 0.
    raw_per_target : int
        Raw outputs per target (per class where `integer_targets`).
    pairs : bool
        One more for each pair of targets.
    kinks : tuple of float
        Values of z - y where the derivative jumps.
    classifier, regressor : str or None
        The name that users of such an estimator write; None if it has none.
    settings : tuple of Setting
        The numbers that it takes beside z and y, at most ``NUMBERS``.
    plain : bool
        Whether it is compiled for every network, or only where it or another one that is not plain
        is used.
    """

    name: str
    code: int
    link: str
    y_low: float = -np.inf
    y_high: float = np.inf
    integer_targets: bool = False
    pinned: bool = False
    raw_per_target: int = 1
    pairs: bool = False
    kinks: tuple[float, ...] = ()
    classifier: str | None = None
    regressor: str | None = None
    settings: tuple[Setting, ...] = ()
    plain: bool = False

    @property
    def link_code(self) -> int:
        """Code of a loss of the table with this inverse link."""
        return self.code

    def n_raw(self, n: int) -> int:
        """R for `n` targets, or `n` classes where `integer_targets`."""
        return self.raw_per_target * n + self.pairs * n * (n - 1) // 2 - self.pinned

    def n_targets(self, n_raw: int) -> int:
        """The number of targets (classes) that has so many raw outputs, 0 if none has."""
        if self.pairs:
            return next((n for n in range(1, n_raw + 1) if self.n_raw(n) == n_raw), 0)
        n, rest = divmod(n_raw + self.pinned, self.raw_per_target)
        return 0 if rest else n


LOSSES = {
    row.name: row
    for row in (
        Loss(
            "softmax_cross_entropy",
            SOFTMAX_CROSS_ENTROPY,
            "softmax",
            y_low=0,
            integer_targets=True,
            plain=True,
            classifier="log_loss",
        ),
        Loss(
            "pinned_softmax_cross_entropy",
            PINNED_SOFTMAX_CROSS_ENTROPY,
            "softmax",
            y_low=0,
            integer_targets=True,
            pinned=True,
            plain=True,
            classifier="pinned_log_loss",
        ),
        Loss(
            "sigmoid_cross_entropy",
            SIGMOID_CROSS_ENTROPY,
            "logistic",
            y_low=0,
            y_high=1,
            plain=True,
        ),
        Loss(
            "half_squared_error",
            HALF_SQUARED_ERROR,
            "identity",
            plain=True,
            regressor="squared_error",
        ),
        Loss(
            "absolute_error",
            ABSOLUTE_ERROR,
            "identity",
            kinks=(0.0,),
            plain=True,
            regressor="absolute_error",
        ),
        Loss(
            "half_poisson_deviance",
            HALF_POISSON_DEVIANCE,
            "exp",
            y_low=0,
            plain=True,
            regressor="poisson",
        ),
        Loss(
            "quantile",
            QUANTILE,
            "identity",
            kinks=(0.0,),
            settings=(Setting("quantile", 0.5, 0.0, 1.0),),
            regressor="quantile",
        ),
        Loss(
            "huber",
            HUBER,
            "identity",
            settings=(Setting("huber_delta", 1.0, 0.0, np.inf),),
            regressor="huber",
        ),
        Loss("gaussian", GAUSSIAN, "location_and_scale", raw_per_target=2, regressor="gaussian"),
        Loss("full_gaussian", FULL_GAUSSIAN, "location_and_scale", raw_per_target=2, pairs=True),
        Loss(
            "laplace",
            LAPLACE,
            "location_and_scale",
            raw_per_target=2,
            kinks=(0.0,),
            regressor="laplace",
        ),
        Loss("clipped_linear_cross_entropy", CLIPPED_LINEAR_CROSS_ENTROPY, "clip", 0, 1),
        Loss("half_sigmoid_squared_error", HALF_SIGMOID_SQUARED_ERROR, "logistic", 0, 1),
        Loss("inner_product", INNER_PRODUCT, "identity"),
    )
}


@kernel
def _subtract_largest(z, rows, pinned, top):
    """Subtract each row's largest raw output from all of them; the link does not see it.

    A NaN that is not the first is not found the largest, and stays in its place. `top` gets what
    the logit of a pinned class is then, with the other sign.
    """
    zero = z.dtype.type(0)
    for r in range(rows):
        top[r] = z[r]
    if pinned:
        for r in range(rows):
            top[r] = zero if top[r] < zero else top[r]
    for at in range(rows, z.size, rows):
        column = run(z, at, rows)
        for r in range(rows):
            top[r] = column[r] if column[r] > top[r] else top[r]
    for at in range(0, z.size, rows):
        column = run(z, at, rows)
        for r in range(rows):
            column[r] -= top[r]


@kernel
def _gaussian(z, y, rows, value, scratch):
    """-log N(y; m, (M^T M)^-1); `y` is lost. Without entries below it, M is diagonal."""
    zero, one, half = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5)
    constant = z.dtype.type(HALF_LOG_2_PI)
    n = y.size // rows
    full = z.size > 2 * y.size
    for i in range(n):
        m, d = run(z, i * rows, rows), run(y, i * rows, rows)
        for r in range(rows):
            d[r] -= m[r]
        for r in range(rows):
            m[r] = zero  # from here on its gradient
    entries = 2 * n * rows  # of the row i of M that is at work
    for i in range(n):
        gradient, d = run(z, i * rows, rows), run(y, i * rows, rows)
        a, e = run(z, (n + i) * rows, rows), scratch  # e = (M (y - m))_i
        for r in range(rows):
            e[r] = exp(-a[r]) * d[r]
        if full:
            for j in range(i):
                entry, other = run(z, entries + j * rows, rows), run(y, j * rows, rows)
                for r in range(rows):
                    e[r] += entry[r] * other[r]
        for r in range(rows):
            value[r] += constant + a[r] + half * e[r] * e[r]
        for r in range(rows):
            s = exp(-a[r]) * e[r]
            gradient[r] -= s
            a[r] = one - s * d[r]
        if full:
            for j in range(i):
                entry, other = run(z, entries + j * rows, rows), run(y, j * rows, rows)
                to = run(z, j * rows, rows)
                for r in range(rows):
                    to[r] -= entry[r] * e[r]
                    entry[r] = e[r] * other[r]
            entries += i * rows


@kernel
def _laplace(z, y, rows, value):
    """-log of Laplace(y; m, exp(a))."""
    zero, one, constant = z.dtype.type(0), z.dtype.type(1), z.dtype.type(LOG_2)
    for at in range(0, y.size, rows):
        m, a, target = run(z, at, rows), run(z, y.size + at, rows), run(y, at, rows)
        for r in range(rows):
            value[r] += constant + a[r] + abs(m[r] - target[r]) * exp(-a[r])
        for r in range(rows):
            d, inverse = m[r] - target[r], exp(-a[r])
            m[r] = inverse if d > zero else (-inverse if d < zero else d * inverse)
            a[r] = one - abs(d) * inverse


@kernel
def _value_and_gradient_not_plain(code, z, y, rows, value, scratch, numbers):
    """`value_and_gradient` of the losses that are not plain."""
    zero, one, half = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5)
    if code in (GAUSSIAN, FULL_GAUSSIAN):
        _gaussian(z, y, rows, value, scratch)
        return
    if code == LAPLACE:
        _laplace(z, y, rows, value)
        return
    number = z.dtype.type(numbers[0])
    tiny = z.dtype.type(TINY_32 if z.itemsize == 4 else TINY_64)
    for at in range(0, z.size, rows):  # one output, one target
        raw, target = run(z, at, rows), run(y, at, rows)
        if code == QUANTILE:
            for r in range(rows):
                d = raw[r] - target[r]
                derivative = one - number if d > zero else (-number if d < zero else d)
                value[r] += derivative * d
                raw[r] = derivative
        elif code == HUBER:
            for r in range(rows):
                d = raw[r] - target[r]
                far = abs(d) > number
                value[r] += number * (abs(d) - half * number) if far else half * d * d
                raw[r] = (number if d > zero else -number) if far else d
        elif code == CLIPPED_LINEAR_CROSS_ENTROPY:
            for r in range(rows):
                p = zero if raw[r] <= zero else (one if raw[r] >= one else raw[r])
                q = one - p
                value[r] -= target[r] * log(tiny if p < tiny else p)
                value[r] -= (one - target[r]) * log(tiny if q < tiny else q)
            for r in range(rows):
                if raw[r] <= zero or raw[r] >= one:
                    raw[r] = zero
                else:
                    raw[r] = (one - target[r]) / (one - raw[r]) - target[r] / raw[r]
        elif code == HALF_SIGMOID_SQUARED_ERROR:
            for r in range(rows):
                e = exp(-abs(raw[r]))
                d = (one if raw[r] >= zero else e) / (one + e) - target[r]
                value[r] += half * d * d
                raw[r] = d * e / ((one + e) * (one + e))
        elif code == INNER_PRODUCT:
            for r in range(rows):
                value[r] += raw[r] * target[r]
                raw[r] = target[r]


@kernel
def value_and_gradient(code, z, y, rows, value, scratch, numbers, rare):
    """Losses of a block of rows; their raw outputs are replaced by the gradient.

    Parameters
    ----------
    code : int
    z : (R * rows,) raw outputs, all of the first output in front; changed to their gradient
    y : (T * rows,) targets, likewise; may be changed
    rows : int
    value : (rows,) written
    scratch : (rows,)
    numbers : (NUMBERS,) float64
        In the order of ``Loss.settings``.
    rare : None or 1
        None where the loss is plain.
    """
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    for r in range(rows):
        value[r] = zero
    pinned = code == PINNED_SOFTMAX_CROSS_ENTROPY
    if pinned or code == SOFTMAX_CROSS_ENTROPY:
        _subtract_largest(z, rows, pinned, scratch)
        others = scratch  # sum of exp(z) but for the target's: log1p keeps a small loss exact
        if pinned:
            for r in range(rows):
                value[r] = others[r] if y[r] == zero else zero
            for r in range(rows):
                others[r] = zero if y[r] == zero else exp(-others[r])
        else:
            for r in range(rows):
                others[r] = zero
        first = 1 if pinned else 0
        for at in range(0, z.size, rows):
            column, unit = run(z, at, rows), z.dtype.type(first + at // rows)
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
            column, unit = run(z, at, rows), z.dtype.type(first + at // rows)
            for r in range(rows):
                column[r] = column[r] * others[r] - (one if y[r] == unit else zero)
        return
    if rare is not None and code >= QUANTILE:
        _value_and_gradient_not_plain(code, z, y, rows, value, scratch, numbers)
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
    """Replace raw outputs by the distribution's parameters; layout as in `value_and_gradient`.

    A pinned class has no place among them; `nbnet.graph.network` adds it.
    """
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    if code == SOFTMAX_CROSS_ENTROPY:
        _subtract_largest(z, rows, code != SOFTMAX_CROSS_ENTROPY, scratch)
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
    elif code in (SIGMOID_CROSS_ENTROPY, HALF_SIGMOID_SQUARED_ERROR):
        for i in range(z.size):
            e = exp(-abs(z[i]))
            z[i] = (one if z[i] >= zero else e) / (one + e)
    elif code == HALF_POISSON_DEVIANCE:
        for i in range(z.size):
            z[i] = exp(z[i])
    elif code in (GAUSSIAN, FULL_GAUSSIAN, LAPLACE):
        outputs = z.size // rows
        n = outputs // 2
        while code == FULL_GAUSSIAN and n * (n + 3) > 2 * outputs:
            n -= 1
        scales = run(z, n * rows, n * rows)
        for i in range(scales.size):
            scales[i] = exp(scales[i])
    elif code == CLIPPED_LINEAR_CROSS_ENTROPY:
        for i in range(z.size):
            z[i] = zero if z[i] < zero else (one if z[i] > one else z[i])
