"""One contract for every row of ACTIVATIONS: value, slope, kinks, extremes."""

import numpy as np
import pytest

import finite_differences
import naive
from nbnet.kernels.activations import ACTIVATIONS
from problems import DTYPES, KINKS, reader, tiny

pytestmark = pytest.mark.numerical

POINTS = np.concatenate([np.linspace(-30.0, 30.0, 121), [-1e-3, -1e-6, 1e-6, 1e-3, 0.3, -0.7]])
VALUE_RTOL = {np.float64: 1e-13, np.float32: 1e-6}
PIECEWISE_LINEAR = ("relu", "leaky_relu", "abs")
SLOPE_ATOL = {np.float64: 1e-14, np.float32: 1e-6}


def value_and_slope(name, z, negative_slope=0.01):
    """Value and slope at each entry of z (N, O), as a network computes them."""
    net, before, after, params = reader(z.shape[1], name, negative_slope)
    params = params.astype(z.dtype)
    value = net.forward(params, z)
    at_z, at_h = net.gradients(params, z, value - 1, loss="half_squared_error", wrt=[before, after])
    return value, at_z / at_h


def test_every_activation_has_a_naive_twin():
    assert naive.missing("ACTIVATIONS", ACTIVATIONS) == []


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_row_is_complete(name):
    row = ACTIVATIONS[name]
    assert row.name == name
    assert row.gain > 0
    assert row.zero_at_zero == (naive.ACTIVATIONS[name][0](np.zeros(1), 0.01)[0] == 0)
    assert [other.name for other in ACTIVATIONS.values() if other.code == row.code] == [name]


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_slope_are_those_of_the_twin(name, dtype):
    z = POINTS.astype(dtype)[:, None]
    value, slope = value_and_slope(name, z)
    naive_value, naive_slope = naive.ACTIVATIONS[name]
    assert value.dtype == dtype
    np.testing.assert_allclose(
        value, naive_value(z.astype(np.float64), 0.01), rtol=VALUE_RTOL[dtype], atol=1e-37
    )
    np.testing.assert_allclose(
        slope, naive_slope(z.astype(np.float64), 0.01), rtol=0.0, atol=SLOPE_ATOL[dtype]
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 3, 7, 17, 37, 90])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_width_and_batch(name, width, dtype):
    """No entry of a vector's remainder or of a last short block of rows is left out."""
    for n_rows in (1, 2, 7, 64, 65, 100, 300):
        z = np.random.default_rng(n_rows).uniform(-4.0, 4.0, (n_rows, width)).astype(dtype)
        value, slope = value_and_slope(name, z)
        naive_value, naive_slope = naive.ACTIVATIONS[name]
        np.testing.assert_allclose(value, naive_value(z, 0.01), rtol=VALUE_RTOL[dtype], atol=1e-37)
        np.testing.assert_allclose(
            slope, naive_slope(z, 0.01), rtol=0.0, atol=10 * SLOPE_ATOL[dtype]
        )


@tiny
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_the_derivative_of_the_value(name):
    points = np.random.default_rng(0).uniform(-5.0, 5.0, 60)
    points = finite_differences.away_from(points, ACTIVATIONS[name].kinks, distance=0.01)
    assert len(points) > 40

    def value(z):
        net, _, _, params = reader(1, name)
        return net.forward(params, z[:, None])[:, 0]

    _, slope = value_and_slope(name, points[:, None])
    np.testing.assert_allclose(
        slope[:, 0], finite_differences.derivative(value, points), rtol=0.0, atol=1e-10
    )


@tiny
@pytest.mark.parametrize(
    ("name", "kink"), [(name, kink) for name, kinks in KINKS.items() for kink in kinks]
)
def test_a_kink_is_where_the_slope_jumps(name, kink):
    value, slope = value_and_slope(name, kink + np.array([[-1e-6], [0.0], [1e-6]]))
    assert np.ptp(value) < 1e-5
    left, at_kink, right = slope[:, 0]
    bend = 0.0 if name in PIECEWISE_LINEAR else 2e-6  # of a slope within 1e-6
    assert min(left, right) - bend <= at_kink <= max(left, right) + bend
    if name == "elu":  # the slope of the slope jumps
        assert abs((right - at_kink) - (at_kink - left)) > 0.1 * 1e-6
    else:
        assert abs(left - right) > 0.1


@tiny
@pytest.mark.parametrize("negative_slope", [0.0, 0.01, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_slope(negative_slope, dtype):
    z = np.array([[-3.0, -0.5, 0.5, 3.0]], dtype=dtype)
    value, slope = value_and_slope("leaky_relu", z, negative_slope)
    a = negative_slope
    np.testing.assert_allclose(value, [[-3.0 * a, -0.5 * a, 0.5, 3.0]], rtol=1e-6)
    np.testing.assert_allclose(slope, [[a, a, 1.0, 1.0]], rtol=1e-6)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_far_from_zero(name, dtype):
    z = np.array([[-1e4, -750.0, -104.0, -88.0, 88.0, 104.0, 750.0, 1e4]], dtype=dtype)
    value, slope = value_and_slope(name, z)
    naive_value, naive_slope = naive.ACTIVATIONS[name]
    rtol = VALUE_RTOL[dtype]
    np.testing.assert_allclose(value, naive_value(z, 0.01), rtol=rtol, atol=1e-37)
    np.testing.assert_allclose(slope, naive_slope(z, 0.01), rtol=1e-3, atol=1e-7)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name, dtype):
    net, before, _, params = reader(1, name)
    z = np.array([[np.nan], [1.0]], dtype=dtype)
    params = params.astype(dtype)
    assert np.isnan(net.forward(params, z))[:, 0].tolist() == [True, False]
    (at_z,) = net.gradients(params, z, np.zeros_like(z), loss="half_squared_error", wrt=[before])
    assert np.isnan(at_z)[:, 0].tolist() == [True, False]
