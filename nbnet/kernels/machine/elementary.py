"""exp and its kin as a few multiplications, so that loops over them are vectorised.

A call into the C library for each number costs 10 to 30 times as much. LLVM instructions are
emitted by hand for the sake of three things that a loop cannot say: the bits of a number, constants
of its own precision, and one fused multiplication and addition. Each function works for float32 and
float64; its Python twin is NumPy's function of the same name, for ndtr one by `math.erfc`.

==========  ==============================================================  =====================
function    method                                                          largest error seen
==========  ==============================================================  =====================
exp         2^n e^r, |r| <= log(2) / 2, Taylor's polynomial for e^r         1 ulp
expm1       2^n (e^r - 1) + (2^n - 1), Taylor's polynomial for e^r - 1      2 ulp
log         k log(2) + log(1 + f), a polynomial in s = f / (2 + f)          1 ulp
log1p       log(u) + (x - (u - 1)) / u, u = 1 + x                           2 ulp
ndtr        1 / 2 + x q(x^2) where |x| < 1, else e^(-x^2 / 2) p(t) / (|x|   5 ulp
            + k) where x < 0, 1 less that where x > 0
tanh        a rational function where |x| < 0.625, 1 - 2 / (e^2x + 1) else  2 ulp
==========  ==============================================================  =====================

The series of log is that of FreeBSD's msun (e_log.c, k_logf.h), the rational functions of tanh are
those of Cephes (tanh.c, tanhf.c). ndtr is the distribution function of the standard normal
distribution; p and q interpolate it at Chebyshev points, p in t = (|x| - k) / (|x| + k)
(Schonfelder, 1978, "Chebyshev expansions for the error and related functions").

a. All numbers are covered: exp overflows to infinity and underflows through the subnormal numbers
   to zero, log is -inf at 0 and NaN below, NaN stays NaN.
b. Rounding to the integer n is the addition of 1.5 times a large power of two, after which the
   low bits of the sum *are* n. A conversion to an integer would be undefined for NaN.
"""

import math
from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from nbnet.kernels.compile.jit import machine_code

__all__ = ["exp", "expm1", "fma", "log", "log1p", "ndtr", "tanh"]


class _Arithmetic:
    """Emits instructions on numbers of one precision; constants may be Python numbers."""

    def __init__(self, builder, dtype):
        self.builder = builder
        self.single = dtype == types.float32
        self.number = ir.FloatType() if self.single else ir.DoubleType()
        self.integer = ir.IntType(32 if self.single else 64)
        self.mantissa = 23 if self.single else 52
        self.bias = 127 if self.single else 1023

    def constant(self, value):
        if isinstance(value, ir.Value):
            return value
        return ir.Constant(self.number, float(np.float32(value)) if self.single else float(value))

    def _call(self, name, *args):
        suffix = "f32" if self.single else "f64"
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.number, [self.number] * len(args)),
            f"llvm.{name}.{suffix}",
        )
        return self.builder.call(function, [self.constant(arg) for arg in args])

    def fma(self, a, b, c):
        return self._call("fma", a, b, c)

    def absolute(self, a):
        return self._call("fabs", a)

    def with_sign_of(self, a, sign):
        return self._call("copysign", a, sign)

    def add(self, a, b):
        return self.builder.fadd(self.constant(a), self.constant(b))

    def sub(self, a, b):
        return self.builder.fsub(self.constant(a), self.constant(b))

    def mul(self, a, b):
        return self.builder.fmul(self.constant(a), self.constant(b))

    def div(self, a, b):
        return self.builder.fdiv(self.constant(a), self.constant(b))

    def where(self, a, comparison, b, then, otherwise):
        """``then if a <comparison> b else otherwise``; no comparison with NaN is true."""
        condition = self.builder.fcmp_ordered(comparison, self.constant(a), self.constant(b))
        return self.builder.select(condition, self.constant(then), self.constant(otherwise))

    def polynomial(self, x, coefficients):
        """Horner's rule, highest power first."""
        total = self.constant(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, c)
        return total

    def bits(self, a):
        return self.builder.bitcast(self.constant(a), self.integer)

    def int(self, value):
        return ir.Constant(self.integer, value)

    def power_of_two(self, n):
        """2^n for an integer n within the range of normal numbers."""
        biased = self.builder.add(n, self.int(self.bias))
        return self.builder.bitcast(self.builder.shl(biased, self.int(self.mantissa)), self.number)


def _elementary(emit, twin):
    @machine_code(twin)
    def function(typingctx, x):
        def codegen(context, builder, signature, args):
            return emit(_Arithmetic(builder, signature.return_type), args[0])

        return x(x), codegen

    return function


# log(2) in two parts: n times the first is exact for all n that occur.
_LOG2_HIGH = {True: 0.693359375, False: 6.93147180369123816490e-01}
_LOG2_LOW = {True: -2.12194440e-4, False: 1.90821492927058770002e-10}


def _reduced(m, x):
    """``x = n log(2) + r`` with |r| <= log(2) / 2: r, and n in two integers.

    Two, because 2^n alone may overflow or be subnormal where the result is neither.
    """
    # Beyond these e^x is 0 or infinity in any case.
    low, high = (-104.0, 89.0) if m.single else (-746.0, 710.0)
    x = m.where(x, "<", low, low, x)
    x = m.where(x, ">", high, high, x)
    magic = 1.5 * 2.0**m.mantissa
    shifted = m.fma(x, 1 / math.log(2), magic)
    n = m.sub(shifted, magic)
    r = m.fma(n, -_LOG2_HIGH[m.single], x)
    r = m.fma(n, -_LOG2_LOW[m.single], r)
    integer = m.builder.sub(m.bits(shifted), m.bits(magic))
    half = m.builder.ashr(integer, m.int(1))
    return r, half, m.builder.sub(integer, half)


def _taylor(m, lowest):
    """Coefficients of e^r from the highest power that matters to the `lowest`."""
    return [1 / math.factorial(k) for k in range(7 if m.single else 13, lowest - 1, -1)]


def _emit_exp(m, x):
    r, half, rest = _reduced(m, x)
    power = m.mul(m.polynomial(r, _taylor(m, 0)), m.power_of_two(half))
    return m.mul(power, m.power_of_two(rest))


def _emit_expm1(m, x):
    r, half, rest = _reduced(m, x)
    less = m.fma(m.mul(r, r), m.polynomial(r, _taylor(m, 2)), r)  # e^r - 1
    # 2^half (2^rest less + 2^rest - 2^-half)
    scale = m.power_of_two(rest)
    offset = m.sub(scale, m.power_of_two(m.builder.neg(half)))
    return m.mul(m.fma(scale, less, offset), m.power_of_two(half))


def _emit_log(m, x):
    smallest = 2.0 ** (1 - m.bias)
    up = m.mantissa + 2
    normal = m.where(x, "<", smallest, m.mul(x, 2.0**up), x)
    # Take the exponent so that what is left lies in [sqrt(1/2), sqrt(2)).
    one, root = m.bits(1.0), m.bits(math.sqrt(0.5))
    shifted = m.builder.add(m.bits(normal), m.builder.sub(one, root))
    exponent = m.builder.sub(m.builder.ashr(shifted, m.int(m.mantissa)), m.int(m.bias))
    k = m.builder.sitofp(exponent, m.number)
    k = m.where(x, "<", smallest, m.sub(k, float(up)), k)
    rest = m.builder.add(m.builder.and_(shifted, m.int(2**m.mantissa - 1)), root)
    f = m.sub(m.builder.bitcast(rest, m.number), 1.0)

    s = m.div(f, m.add(2.0, f))
    z = m.mul(s, s)
    if m.single:
        series = [0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693]
    else:
        series = [
            1.479819860511658591e-01,
            1.531383769920937332e-01,
            1.818357216161805012e-01,
            2.222219843214978396e-01,
            2.857142874366239149e-01,
            3.999999999940941908e-01,
            6.666666666666735130e-01,
        ]
    series = m.mul(z, m.polynomial(z, series))
    square = m.mul(m.mul(0.5, f), f)
    tail = m.fma(s, m.add(square, series), m.mul(k, _LOG2_LOW[m.single]))
    result = m.fma(k, _LOG2_HIGH[m.single], m.add(m.sub(tail, square), f))

    result = m.where(x, "==", math.inf, math.inf, result)
    result = m.where(x, "==", 0.0, -math.inf, result)
    # Neither below nor above: NaN.
    return m.where(x, ">=", 0.0, result, math.nan)


def _emit_log1p(m, x):
    u = m.add(1.0, x)
    lost = m.sub(x, m.sub(u, 1.0))  # what rounding took from u
    result = m.add(_emit_log(m, u), m.div(lost, u))
    result = m.where(u, "==", math.inf, math.inf, result)
    return m.where(u, "==", 0.0, -math.inf, result)


def _emit_tanh(m, x):
    a = m.absolute(x)
    z = m.mul(x, x)
    if m.single:
        series = m.polynomial(
            z,
            [
                -5.70498872745e-3,
                2.06390887954e-2,
                -5.37397155531e-2,
                1.33314422036e-1,
                -3.33332819422e-1,
            ],
        )
    else:
        above = [
            -9.64399179425052238628e-1,
            -9.92877231001918586564e1,
            -1.61468768441708447952e3,
        ]
        below = [
            1.0,
            1.12811678491632931402e2,
            2.23548839060100448583e3,
            4.84406305325125486048e3,
        ]
        series = m.div(m.polynomial(z, above), m.polynomial(z, below))
    near = m.fma(m.mul(x, z), series, x)
    far = m.sub(1.0, m.div(2.0, m.add(_emit_exp(m, m.add(a, a)), 1.0)))
    return m.where(a, "<", 0.625, near, m.with_sign_of(far, x))


# How large |x| is taken to be at most, k, and the coefficients, highest power first, of two
# polynomials: e^(a^2 / 2) Phi(-a) (a + k) in (a - k) / (a + k) for a >= 1, and (Phi(a) - 1 / 2) / a
# in a^2 for a <= 1.
_NDTR = {
    True: (
        14.5,
        1.5,
        [
            0.0023707326,
            -0.00358869135,
            -0.00149546284,
            -0.00255192677,
            0.00391152827,
            0.017655395,
            0.0178984143,
            -0.057495784,
            -0.195099518,
            0.617341995,
        ],
        [
            -7.66053836e-06,
            0.000113502298,
            -0.00118634396,
            0.00997332856,
            -0.0664903596,
            0.398942292,
        ],
    ),
    False: (
        38.7,
        3.0,
        [
            -7.2949613111818739e-08,
            4.1321804298268896e-07,
            -3.7109307556561801e-07,
            -9.1420752611569523e-07,
            2.3760928625781422e-07,
            2.3521744019184775e-06,
            3.5134189049511329e-06,
            -3.5221876838553959e-06,
            -2.0654295896174193e-05,
            -1.3249798666160011e-05,
            7.8807153280666987e-05,
            0.00015439541366307993,
            -0.00025657482477880474,
            -0.0010458287224415258,
            0.00102759223035696,
            0.0069726212455092198,
            -0.010462867022470686,
            -0.04726302514308129,
            0.23001771997459358,
            -0.50933198191748874,
            0.72908369013337304,
        ],
        [
            -9.0261099045655835e-11,
            2.2270765391721188e-09,
            -4.1173089319651837e-08,
            6.659316904081042e-07,
            -9.444639808676774e-06,
            0.00011543468323083616,
            -0.0011873282148079404,
            0.0099735570099833831,
            -0.066490380066903859,
            0.39894228040143265,
        ],
    ),
}


def _ndtr_twin(x):
    t = -float(x) / math.sqrt(2.0)
    value = math.erfc(t) / 2.0
    if 1.0 < t < 30.0:  # in an exponent, what rounding took from t^2 would show
        value *= math.exp(Fraction(t) ** 2 - Fraction(float(x)) ** 2 / 2)
    return type(x)(value)


def _emit_ndtr(m, x):
    most, k, far, near = _NDTR[m.single]
    a = m.absolute(x)
    a = m.where(a, ">", most, most, a)
    square = m.mul(a, a)
    middle = m.fma(x, m.polynomial(square, near), 0.5)
    lost = m.fma(a, a, m.sub(0.0, square))  # that is a^2 - square, which an exponent would show
    inverse = m.div(1.0, m.add(a, k))
    ratio = m.mul(m.polynomial(m.fma(-2.0 * k, inverse, 1.0), far), inverse)
    ratio = m.fma(ratio, m.mul(lost, -0.5), ratio)
    below = m.mul(_emit_exp(m, m.mul(square, -0.5)), ratio)
    tail = m.where(x, ">", 0.0, m.sub(1.0, below), below)
    return m.where(a, "<", 1.0, middle, tail)


def _fma_twin(a, b, c):
    return a * b + c


@machine_code(_fma_twin)
def fma(typingctx, a, b, c):
    """``a * b + c``, rounded once; its twin rounds twice."""

    def codegen(context, builder, signature, args):
        return _Arithmetic(builder, signature.return_type).fma(*args)

    return a(a, a, a), codegen


exp = _elementary(_emit_exp, np.exp)
expm1 = _elementary(_emit_expm1, np.expm1)
log = _elementary(_emit_log, np.log)
log1p = _elementary(_emit_log1p, np.log1p)
ndtr = _elementary(_emit_ndtr, _ndtr_twin)
tanh = _elementary(_emit_tanh, np.tanh)
