"""Losses on raw outputs, each the negative log-likelihood of an output distribution.

=============================  ==================  ==============================  =================
name                           distribution        value of one row                link^-1
=============================  ==================  ==============================  =================
softmax_cross_entropy          multinoulli         logsumexp(z) - z_y              softmax
pinned_softmax_cross_entropy   multinoulli         the same, with z = (0, z)       softmax
sigmoid_cross_entropy          Bernoulli           softplus(z) - y z               logistic
half_squared_error             Gaussian            (z - y)^2 / 2                   identity
absolute_error                 Laplace             |z - y|                         identity
half_poisson_deviance          Poisson             exp(z) - y z + y log y - y      exp
quantile                       asymmetric Laplace  max(q (y - z), (1 - q)(z - y))  identity
huber                          Gaussian, but       d^2 / 2 where |d| <= delta,     identity
                               Laplace far out     else delta (|d| - delta / 2)
gaussian                       N(m, exp(2 a))      log(2 pi) / 2 + a + e^2 / 2     identity, exp
full_gaussian                  N(m, (M^T M)^-1)    the same, summed; e = M(y - m)  identity, exp
laplace                        Laplace(m, exp(a))  log 2 + a + |y - m| / exp(a)    identity, exp
clipped_linear_cross_entropy   Bernoulli           -log of p or 1 - p              clip
half_sigmoid_squared_error     none                (sigmoid(z) - y)^2 / 2          logistic
inner_product                  none                z y                             identity
smoothed_..._cross_entropy     as the others       theirs, with targets t          theirs
softmax_focal                  none                (1 - p_y)^g (-log p_y)          softmax
sigmoid_focal                  none                the same, p_y is p or 1 - p     logistic
half_tweedie_deviance          Tweedie             see below                       exp
half_gamma_deviance            gamma               z - log y + y / exp(z) - 1      exp
half_binomial_deviance         binomial            softplus(z) - y z, less its     logistic
                                                   least value
negative_binomial              negative binomial   see below                       exp, exp
=============================  ==================  ==============================  =================

(Goodfellow et al., 2016, section 6.2; for y in {0, 1} the third is softplus((1 - 2y) z).) d is
z - y. Values are summed over the outputs of a row, so that value and gradient agree; rows are
weighted and averaged in one place, `step`.

A scale that is learned takes raw outputs of its own: of 2T, the first T are the means (medians) m,
the others a, the logarithms of the scales; then e = (y - m) / exp(a). A full covariance has
T (T - 1) / 2 more, row by row the entries below the diagonal of the lower triangular M, whose
diagonal is exp(-a): the inverse of the Cholesky factor of the covariance.

Several quantiles have a raw output each: of Q levels and T targets, the first Q are those of the
first target. They are learned side by side and may cross; who predicts sorts them.

Label smoothing e moves targets towards all classes alike: for one of K classes, t is 1 - e on the
class and e / K more on every one; for a label y in {0, 1}, t = (1 - e) y + e / 2. Its losses are
rows of their own, so that those without keep their bits and compile as fast as before.

The focal loss gives less weight to rows that are predicted well, by the factor (1 - p_y)^g (Lin et
al., 2017); g = 0 is the cross-entropy.

Half the Tweedie deviance of power p, 1 < p < 2, and mean m = exp(z):
m^(2 - p) / (2 - p) - y m^(1 - p) / (1 - p) + y^(2 - p) / ((1 - p) (2 - p)). It and the next are
computed from log m - log y, so that they do not cancel where the prediction is good.

A negative binomial has the mean m = exp(z) and the variance m + exp(a) m^2, its dispersion exp(a)
being learned as scales are. With r = exp(-a) it is
log(Gamma(r) y! / Gamma(y + r)) + (y + r) log(1 + m / r) - y log(m / r).

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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
    SMOOTHED_SOFTMAX_CROSS_ENTROPY,
    SMOOTHED_PINNED_SOFTMAX_CROSS_ENTROPY,
    SMOOTHED_SIGMOID_CROSS_ENTROPY,
    SOFTMAX_FOCAL,
    SIGMOID_FOCAL,
    HALF_TWEEDIE_DEVIANCE,
    HALF_GAMMA_DEVIANCE,
    HALF_BINOMIAL_DEVIANCE,
    NEGATIVE_BINOMIAL,
) = range(23)
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
        Range of valid targets, both ends included.
    y_open : bool
        Whether `y_low` itself is left out of it.
    integer_targets : bool
        Targets are one column of class indices.
    pinned : bool
        The first class has no raw output: its logit is 0.
    raw_per_target : int
        Raw outputs per target (per class where `integer_targets`), and per number where a setting
        takes several. Where there are two, the second says how far targets scatter.
    pairs : bool
        One more for each pair of targets.
    kinks : tuple of float
        Values of z - y where the derivative jumps.
    classifier, regressor : str or None
        The name that users of such an estimator write; None if it has none.
    binary, smoothed : str or None
        Of a classifier's loss, the rows that stand for it where there are two classes, or labels
        that may be together, and where labels are smoothed.
    settings : tuple of Setting
        The numbers that it takes beside z and y: at most ``NUMBERS``, or one that may be several.
    plain : bool
        Whether it is compiled for every network, or only where it or another one that is not plain
        is used.
    extra : bool
        Whether it is compiled only where something else is used that is extra, of the few things
        that this can be said of.
    """

    name: str
    code: int
    link: str
    y_low: float = -np.inf
    y_high: float = np.inf
    y_open: bool = False
    integer_targets: bool = False
    pinned: bool = False
    raw_per_target: int = 1
    pairs: bool = False
    kinks: tuple[float, ...] = ()
    classifier: str | None = None
    regressor: str | None = None
    binary: str | None = None
    smoothed: str | None = None
    settings: tuple[Setting, ...] = ()
    plain: bool = False
    extra: bool = False

    def levels(self, numbers: Mapping[str, Any]) -> int:
        """How many numbers are given of the setting that may be several; 1 if there is none."""
        return max(
            (np.size(numbers.get(s.name, s.default)) for s in self.settings if s.several), default=1
        )

    def n_raw(self, n: int, levels: int = 1) -> int:
        """R for `n` targets, or `n` classes where `integer_targets`."""
        return self.raw_per_target * levels * n + self.pairs * n * (n - 1) // 2 - self.pinned

    def n_targets(self, n_raw: int, levels: int = 1) -> int:
        """The number of targets (classes) that has so many raw outputs, 0 if none has."""
        if self.pairs:
            return next((n for n in range(1, n_raw + 1) if self.n_raw(n) == n_raw), 0)
        n, rest = divmod(n_raw + self.pinned, self.raw_per_target * levels)
        return 0 if rest else n

    @property
    def learns_scale(self) -> bool:
        """Whether raw outputs after the first T say how far targets scatter."""
        return self.raw_per_target > 1

    def admits(self, y: np.ndarray) -> np.ndarray:
        """Which targets lie in its range."""
        above = y > self.y_low if self.y_open else y >= self.y_low
        return above & (y <= self.y_high)

    @cached_property
    def link_code(self) -> int:
        """What compiled code calls its link: the code of the first loss that has it."""
        if self.pinned or self.pairs:
            return self.code
        alike = (row for row in LOSSES.values() if not (row.pinned or row.pairs))
        return next(row.code for row in alike if row.link == self.link)


SMOOTHING = Setting("label_smoothing", 0.0, 0.0, 1.0, closed=True)
FOCUSING = Setting("focal_gamma", 2.0, 0.0, np.inf, closed=True)

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
            binary="sigmoid_cross_entropy",
            smoothed="smoothed_softmax_cross_entropy",
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
            binary="sigmoid_cross_entropy",
            smoothed="smoothed_pinned_softmax_cross_entropy",
        ),
        Loss(
            "sigmoid_cross_entropy",
            SIGMOID_CROSS_ENTROPY,
            "logistic",
            y_low=0,
            y_high=1,
            plain=True,
            smoothed="smoothed_sigmoid_cross_entropy",
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
            settings=(Setting("quantile", 0.5, 0.0, 1.0, several=True),),
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
        Loss(
            "smoothed_softmax_cross_entropy",
            SMOOTHED_SOFTMAX_CROSS_ENTROPY,
            "softmax",
            extra=True,
            y_low=0,
            integer_targets=True,
            settings=(SMOOTHING,),
        ),
        Loss(
            "smoothed_pinned_softmax_cross_entropy",
            SMOOTHED_PINNED_SOFTMAX_CROSS_ENTROPY,
            "softmax",
            extra=True,
            y_low=0,
            integer_targets=True,
            pinned=True,
            settings=(SMOOTHING,),
        ),
        Loss(
            "smoothed_sigmoid_cross_entropy",
            SMOOTHED_SIGMOID_CROSS_ENTROPY,
            "logistic",
            extra=True,
            y_low=0,
            y_high=1,
            settings=(SMOOTHING,),
        ),
        Loss(
            "softmax_focal",
            SOFTMAX_FOCAL,
            "softmax",
            extra=True,
            y_low=0,
            integer_targets=True,
            settings=(FOCUSING,),
            classifier="focal",
            binary="sigmoid_focal",
        ),
        Loss(
            "sigmoid_focal",
            SIGMOID_FOCAL,
            "logistic",
            extra=True,
            y_low=0,
            y_high=1,
            settings=(FOCUSING,),
        ),
        Loss(
            "half_tweedie_deviance",
            HALF_TWEEDIE_DEVIANCE,
            "exp",
            extra=True,
            y_low=0,
            settings=(Setting("tweedie_power", 1.5, 1.0, 2.0),),
            regressor="tweedie",
        ),
        Loss(
            "half_gamma_deviance",
            HALF_GAMMA_DEVIANCE,
            "exp",
            extra=True,
            y_low=0,
            y_open=True,
            regressor="gamma",
        ),
        Loss(
            "half_binomial_deviance",
            HALF_BINOMIAL_DEVIANCE,
            "logistic",
            extra=True,
            y_low=0,
            y_high=1,
            regressor="binomial",
        ),
        Loss(
            "negative_binomial",
            NEGATIVE_BINOMIAL,
            "exp",
            extra=True,
            y_low=0,
            raw_per_target=2,
            regressor="negative_binomial",
        ),
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
def _quantiles(z, y, rows, value, numbers):
    """The pinball loss of each level, of each target."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    levels = z.size // y.size
    for at in range(0, z.size, rows):
        output = at // rows
        number = z.dtype.type(numbers[output % levels])
        raw, target = run(z, at, rows), run(y, output // levels * rows, rows)
        for r in range(rows):
            d = raw[r] - target[r]
            derivative = one - number if d > zero else (-number if d < zero else d)
            value[r] += derivative * d
            raw[r] = derivative


@kernel
def _smoothed_softmax(z, y, rows, value, scratch, smoothing, pinned):
    """Softmax cross-entropy with the target `share` on all classes and `rest` more on one.

    No term is negative once the largest raw output is subtracted, so nothing cancels.
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    first = 1 if pinned else 0
    share = smoothing / z.dtype.type(z.size // rows + first)
    rest = one - smoothing
    _subtract_largest(z, rows, pinned, scratch)
    total = scratch
    if pinned:
        for r in range(rows):
            value[r] = total[r] * (share + (rest if y[r] == zero else zero))
        for r in range(rows):
            total[r] = exp(-total[r])
    else:
        for r in range(rows):
            total[r] = zero
    for at in range(0, z.size, rows):
        column, unit = run(z, at, rows), z.dtype.type(first + at // rows)
        for r in range(rows):
            value[r] -= column[r] * (share + (rest if y[r] == unit else zero))
        for r in range(rows):
            column[r] = exp(column[r])
        for r in range(rows):
            total[r] += column[r]
    for r in range(rows):
        value[r] += log(total[r])
    for r in range(rows):
        total[r] = one / total[r]
    for at in range(0, z.size, rows):
        column, unit = run(z, at, rows), z.dtype.type(first + at // rows)
        for r in range(rows):
            column[r] = column[r] * total[r] - (share + (rest if y[r] == unit else zero))


@kernel
def _softmax_focal(z, y, rows, value, scratch, gamma, tiny):
    """(1 - p)^gamma (-log p), p being the probability of the target's class, and q = 1 - p.

    The gradient is c (p_j / q) for other classes and -c for the target's, with
    c = q^gamma (q - gamma p log p).
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    _subtract_largest(z, rows, False, scratch)
    others = scratch  # sum of exp(z) but for the target's
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
    for at in range(0, z.size, rows):
        column, unit = run(z, at, rows), z.dtype.type(at // rows)
        for r in range(rows):
            share = column[r] / (tiny if others[r] < tiny else others[r])
            column[r] = -one if y[r] == unit else share
    for r in range(rows):
        target = exp(-value[r])
        cross_entropy = value[r] + log1p((target - one) + others[r])
        p, q = target / (target + others[r]), others[r] / (target + others[r])
        power = exp(gamma * log(tiny if q < tiny else q))
        value[r] = power * cross_entropy
        others[r] = power * (q + gamma * p * cross_entropy)
    for at in range(0, z.size, rows):
        column = run(z, at, rows)
        for r in range(rows):
            column[r] *= others[r]


@kernel
def _expm1(x):
    """e^x - 1 in float64, near 0 by its series, since 1 would take digits from e^x.

    What is the series' part is 0 elsewhere, and the other way round: a choice between two long
    computations would become a branch, and the loop would not be vectorised.
    """
    near = x if abs(x) < 0.35 else 0.0
    series = 1 / 39916800 + near * (1 / 479001600 + near / 6227020800)
    series = 1 / 40320 + near * (1 / 362880 + near * (1 / 3628800 + near * series))
    series = 1 / 120 + near * (1 / 720 + near * (1 / 5040 + near * series))
    series = 1.0 + near * (1 / 2 + near * (1 / 6 + near * (1 / 24 + near * series)))
    return near * series + (exp(x - near) - 1.0)


@kernel
def _deviances(code, z, y, rows, value, power):
    """Half the Tweedie or gamma deviance; in float64, as e^(c z) magnifies the rounding of c z."""
    c = 2.0 - power
    for at in range(0, z.size, rows):
        raw, target = run(z, at, rows), run(y, at, rows)
        if code == HALF_TWEEDIE_DEVIANCE:
            for r in range(rows):
                x, t = np.float64(raw[r]), np.float64(target[r])
                known = t > 0.0
                log_y = log(t if known else 1.0)
                scale = exp(c * log_y)  # y^(2 - p)
                above, below = _expm1(c * (x - log_y)), _expm1((c - 1.0) * (x - log_y))
                above, below = above if known else exp(c * x), below if known else 0.0
                value[r] += scale * (above / c + below / (1.0 - c))
                raw[r] = scale * (above - below)
        else:
            for r in range(rows):
                d = np.float64(raw[r]) - log(np.float64(target[r]))
                below = _expm1(-d)
                value[r] += d + below
                raw[r] = -below


@kernel
def _stirling(x):
    """The remainder log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2, for x >= 8."""
    s = 1.0 / (x * x)
    series = 1 / 1188 + s * (-691 / 360360 + s / 156)
    return (1 / 12 + s * (-1 / 360 + s * (1 / 1260 + s * (-1 / 1680 + s * series)))) / x


@kernel
def _stirling_derivative(x):
    """The remainder log x - 1 / (2 x) - (derivative of log Gamma)(x), for x >= 8."""
    s = 1.0 / (x * x)
    series = 1 / 132 + s * (-691 / 32760 + s / 12)
    return s * (1 / 12 + s * (-1 / 120 + s * (1 / 252 + s * (-1 / 240 + s * series))))


@kernel
def _negative_binomial(z, y, rows, value):
    """-log of the negative binomial with mean exp(m) and dispersion exp(a) = 1 / r.

    In float64 whatever z is: logarithms of Gamma cancel. Gamma(x) with x < 8 is led back to
    Gamma(x + 8), over the product x (x + 1) ... (x + 7), whose factors pair up to w = x (x + 7),
    w + 6, w + 10 and w + 12. As r grows, this is the Poisson distribution; where nothing is left
    to tell them apart, the part with Gamma stays with an `r` that is finite.
    """
    for at in range(0, y.size, rows):
        m, a, target = run(z, at, rows), run(z, y.size + at, rows), run(y, at, rows)
        for k in range(rows):
            n, mean, log_dispersion = np.float64(target[k]), np.float64(m[k]), np.float64(a[k])
            s = mean + log_dispersion  # log of the mean over r
            t = exp(-abs(s))
            t = 1e-300 if t < 1e-300 else t
            softplus = log1p(t)
            spread = exp(mean if s < 0.0 else -log_dispersion)
            spread *= softplus / t if s < 0.0 else s + softplus  # r log(1 + exp(s))
            cost = spread + n * (softplus + (-mean if s < 0.0 else log_dispersion))

            held = -60.0 if log_dispersion < -60.0 else log_dispersion
            r = exp(-held)
            x = n + r
            x = 1.0 if x == 0.0 else x  # not looked at
            low_r, low_x = r < 8.0, x < 8.0
            w = r * (r + 7.0)
            ratio = (r + 7.0) * (w + 6.0) * (w + 10.0) * (w + 12.0) if low_r else 1.0
            w = x * (x + 7.0)
            ratio /= w * (w + 6.0) * (w + 10.0) * (w + 12.0) if low_x else 1.0
            high_r, high_x = r + 8.0 if low_r else r, x + 8.0 if low_x else x
            d = n + (8.0 if low_x else 0.0) - (8.0 if low_r else 0.0)  # high_x - high_r
            growth = log1p(d / high_r)
            gammas = (high_r - 0.5) * growth - d + _stirling(high_x) - _stirling(high_r)
            gammas += d * log(high_x) + (n - 1.0) * held if low_r else n * growth
            gammas += log(ratio if n > 0.0 else 1.0)
            cost -= gammas if n > 0.0 else 0.0  # log(Gamma(y + r) / Gamma(r)) - y log r

            x = n + 1.0
            low_x = x < 8.0
            w = x * (x + 7.0)
            product = w * (w + 6.0) * (w + 10.0) * (w + 12.0) if low_x else 1.0
            high_x = x + 8.0 if low_x else x
            cost += (high_x - 0.5) * log(high_x) - high_x + HALF_LOG_2_PI + _stirling(high_x)
            value[k] += cost - log(product)
        for k in range(rows):
            n, mean, log_dispersion = np.float64(target[k]), np.float64(m[k]), np.float64(a[k])
            s = mean + log_dispersion
            t = exp(-abs(s))
            t = 1e-300 if t < 1e-300 else t
            scale = exp(mean if s < 0.0 else -log_dispersion)
            spread = scale * (log1p(t) / t if s < 0.0 else s + log1p(t))
            of_mean = (scale - n * (1.0 if s < 0.0 else t)) / (1.0 + t)

            r = exp(60.0 if log_dispersion < -60.0 else -log_dispersion)
            x = n + r
            x = 1.0 if x == 0.0 else x
            low_r, low_x = r < 8.0, x < 8.0
            w = r * (r + 7.0)
            below = 1.0 / (w + 6.0) + 1.0 / (w + 10.0) + 1.0 / (w + 12.0)
            gammas = 1.0 + r * ((2.0 * r + 7.0) * below + 1.0 / (r + 7.0)) if low_r else 0.0
            w = x * (x + 7.0)
            below = 1.0 / w + 1.0 / (w + 6.0) + 1.0 / (w + 10.0) + 1.0 / (w + 12.0)
            gammas -= r * ((2.0 * x + 7.0) * below) if low_x else 0.0
            high_r, high_x = r + 8.0 if low_r else r, x + 8.0 if low_x else x
            d = n + (8.0 if low_x else 0.0) - (8.0 if low_r else 0.0)
            gammas += r * (log1p(d / high_r) + 0.5 * d / (high_r * high_x))
            gammas -= r * (_stirling_derivative(high_x) - _stirling_derivative(high_r))
            a[k] = (gammas if n > 0.0 else 0.0) - spread + of_mean
            m[k] = of_mean


@kernel
def _value_and_gradient_extra(code, z, y, rows, value, scratch, numbers):
    """`value_and_gradient` of the losses that are extra."""
    zero, one, half = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5)
    number = z.dtype.type(numbers[0])
    tiny = z.dtype.type(TINY_32 if z.itemsize == 4 else TINY_64)
    if code in (SMOOTHED_SOFTMAX_CROSS_ENTROPY, SMOOTHED_PINNED_SOFTMAX_CROSS_ENTROPY):
        pinned = code == SMOOTHED_PINNED_SOFTMAX_CROSS_ENTROPY
        _smoothed_softmax(z, y, rows, value, scratch, number, pinned)
        return
    if code == SOFTMAX_FOCAL:
        _softmax_focal(z, y, rows, value, scratch, number, tiny)
        return
    if code in (HALF_TWEEDIE_DEVIANCE, HALF_GAMMA_DEVIANCE):
        _deviances(code, z, y, rows, value, numbers[0])
        return
    if code == NEGATIVE_BINOMIAL:
        _negative_binomial(z, y, rows, value)
        return
    for at in range(0, z.size, rows):  # one output, one target
        raw, target = run(z, at, rows), run(y, at, rows)
        if code == SMOOTHED_SIGMOID_CROSS_ENTROPY:
            for r in range(rows):
                t = (one - number) * target[r] + half * number
                e = exp(-abs(raw[r]))
                positive = raw[r] >= zero
                value[r] += raw[r] * ((one if positive else zero) - t) + log1p(e)
                raw[r] = (one if positive else e) / (one + e) - t
        elif code == SIGMOID_FOCAL:
            for r in range(rows):
                t = target[r]
                e = exp(-abs(raw[r]))
                positive = raw[r] >= zero
                p, q = (one if positive else e) / (one + e), (e if positive else one) / (one + e)
                of_1 = log1p(e) - (zero if positive else raw[r])  # -log p
                of_0 = log1p(e) + (raw[r] if positive else zero)  # -log q
                of_p, of_q = exp(-number * of_1), exp(-number * of_0)
                value[r] += t * of_q * of_1 + (one - t) * of_p * of_0
                raw[r] = (one - t) * of_p * (p + number * q * of_0)
                raw[r] -= t * of_q * (q + number * p * of_1)
        elif code == HALF_BINOMIAL_DEVIANCE:
            for r in range(rows):
                e = exp(-abs(raw[r]))
                positive = raw[r] >= zero
                value[r] += raw[r] * ((one if positive else zero) - target[r]) + log1p(e)
                t, rest = target[r], one - target[r]
                value[r] += t * log(tiny if t < tiny else t)
                value[r] += rest * log(tiny if rest < tiny else rest)
                raw[r] = (one if positive else e) / (one + e) - target[r]


@kernel
def _value_and_gradient_not_plain(code, z, y, rows, value, scratch, numbers):
    """`value_and_gradient` of the losses that are neither plain nor extra."""
    zero, one, half = z.dtype.type(0), z.dtype.type(1), z.dtype.type(0.5)
    number = z.dtype.type(numbers[0])
    tiny = z.dtype.type(TINY_32 if z.itemsize == 4 else TINY_64)
    if code in (GAUSSIAN, FULL_GAUSSIAN):
        _gaussian(z, y, rows, value, scratch)
        return
    if code == LAPLACE:
        _laplace(z, y, rows, value)
        return
    if code == QUANTILE:
        _quantiles(z, y, rows, value, numbers)
        return
    for at in range(0, z.size, rows):  # one output, one target
        raw, target = run(z, at, rows), run(y, at, rows)
        if code == INNER_PRODUCT:
            for r in range(rows):
                value[r] += raw[r] * target[r]
                raw[r] = target[r]
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


@kernel
def value_and_gradient(code, z, y, rows, value, scratch, numbers, rare, extras):
    """Losses of a block of rows; their raw outputs are replaced by the gradient.

    Parameters
    ----------
    code : int
    z : (R * rows,) raw outputs, all of the first output in front; changed to their gradient
    y : (T * rows,) targets, likewise; may be changed
    rows : int
    value : (rows,) written
    scratch : (rows,)
    numbers : (at least NUMBERS,) float64
        In the order of ``Loss.settings``, or all of the one that is several.
    rare : None or 1
        None where the loss is plain or extra.
    extras : None or not
        None where nothing is extra.
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
    if extras is not None and SMOOTHED_SOFTMAX_CROSS_ENTROPY <= code <= NEGATIVE_BINOMIAL:
        _value_and_gradient_extra(code, z, y, rows, value, scratch, numbers)
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

    `code` is the ``link_code`` of the loss. A pinned class has no place among them;
    `nbnet.graph.network` adds it.
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
    elif code == SIGMOID_CROSS_ENTROPY:
        for i in range(z.size):
            e = exp(-abs(z[i]))
            z[i] = (one if z[i] >= zero else e) / (one + e)
    elif code == HALF_POISSON_DEVIANCE:
        for i in range(z.size):
            z[i] = exp(z[i])
    elif code in (GAUSSIAN, FULL_GAUSSIAN):
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
