"""exp and its kin over the whole range of numbers, within a few units in the last place."""

import mpmath
import numpy as np
import pytest
from numba import njit

from nbnet.kernels.machine import elementary

pytestmark = pytest.mark.numerical

DTYPES = (np.float32, np.float64)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0]


def everywhere(dtype):
    """Numbers of every sign, exponent and kind, close to 0 and 1, and where a method changes."""
    rng = np.random.default_rng(0)
    bits = {np.float32: np.uint32, np.float64: np.uint64}[dtype]
    info = np.finfo(dtype)
    parts = [
        rng.integers(0, np.iinfo(bits).max, 400_000, dtype=bits, endpoint=True).view(dtype),
        rng.uniform(-1, 1, 100_000),
        rng.uniform(-20, 20, 100_000),
        rng.uniform(-1.1, 1.1, 100_000) * np.log(float(info.max)),  # around overflow and underflow
        1 + rng.uniform(-1, 1, 100_000) * 2.0 ** rng.integers(-30, 0, 100_000),
        rng.uniform(0, 1, 10_000) * float(info.smallest_normal),
        0.625 + rng.uniform(-1e-3, 1e-3, 10_000),
        1 + rng.uniform(-1e-3, 1e-3, 10_000),
        [info.max, info.smallest_normal, info.smallest_subnormal, *SPECIAL],
    ]
    with np.errstate(over="ignore"):
        x = np.concatenate([np.asarray(part).astype(dtype) for part in parts])
    return np.concatenate([x, -x])


def computed(name, x):
    function = getattr(elementary, name)

    @njit(error_model="numpy", fastmath={"contract"})
    def apply(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    apply(x, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh"])
def test_within_two_units_in_the_last_place(name, dtype):
    exact = getattr(np, name)
    x = everywhere(dtype)
    out = computed(name, x)
    wide = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        expected = exact(x.astype(wide))
        nearest = expected.astype(dtype)
        finite = np.isfinite(nearest) & np.isfinite(out)
        unit = np.spacing(np.abs(nearest[finite])).astype(wide)
        error = np.abs(out[finite].astype(wide) - expected[finite]) / unit
    # Infinity, NaN and the point where one begins are the same to the last number.
    np.testing.assert_array_equal(out[~finite], nearest[~finite])
    worst = int(error.argmax())
    # Where long double is no wider than double, the reference itself may be off by one.
    bound = 2.0 + (np.finfo(wide).nmant <= np.finfo(dtype).nmant)
    assert error[worst] <= bound, (x[finite][worst], out[finite][worst], nearest[finite][worst])


@pytest.mark.parametrize("dtype", DTYPES)
def test_ndtr_within_five_units_in_the_last_place(dtype):
    """Against numbers of 60 digits: no function of SciPy is as exact in the lower tail."""
    rng = np.random.default_rng(0)
    x = everywhere(dtype)
    parts = [
        rng.choice(x, 4000),
        rng.uniform(-1.2, 1.2, 4000),
        rng.uniform(-15, 9, 4000),
        rng.uniform(-39, -8, 4000),  # from -37.5 on the value is subnormal
        SPECIAL,
    ]
    x = np.concatenate([np.asarray(part, dtype=dtype) for part in parts])
    out = computed("ndtr", x)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))
    x, out = x[~np.isnan(x)], out[~np.isnan(x)]
    with mpmath.workdps(60):
        # From 60 on it is 0 or 1 in any precision here, and mpmath gives up.
        exact = [mpmath.ncdf(mpmath.mpf(float(number))) for number in np.clip(x, -60, 60)]
        units = np.spacing(np.array([float(number) for number in exact]).astype(dtype))
        error = [
            float(abs(mpmath.mpf(float(o)) - e) / float(u))
            for o, e, u in zip(out, exact, units, strict=True)
        ]
    worst = int(np.argmax(error))
    assert error[worst] <= 5.0, (x[worst], out[worst], exact[worst])
    assert (out >= 0).all()
    assert (out <= 1).all()


def test_no_function_goes_untested():
    assert sorted(elementary.__all__) == ["exp", "expm1", "fma", "log", "log1p", "ndtr", "tanh"]


@pytest.mark.parametrize("name", ["tanh", "log1p", "expm1"])
def test_small_arguments_are_their_own_value(name):
    function = getattr(elementary, name)
    call = njit(lambda x: function(x))
    for x in (0.0, 1e-300, -1e-300, 5e-324):
        assert call(x) == x


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fused_product_and_sum_is_rounded_once(dtype):
    """1 + e times 1 - e is 1 - e^2, of which a product by itself keeps only 1."""

    @njit(error_model="numpy")
    def apply(a, b, c, out):
        for i in range(out.size):
            out[i] = elementary.fma(a[i], b[i], c[i])

    e = np.finfo(dtype).eps
    out = np.empty(37, dtype=dtype)
    a, b, c = (np.full(37, number, dtype=dtype) for number in (1 + e, 1 - e, -1))
    assert (a * b + c == 0).all()
    apply(a, b, c, out)
    np.testing.assert_array_equal(out, -(e**2))
