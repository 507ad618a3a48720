"""The machine-level pieces against their Python twins, and the loops around them against NumPy."""

import numpy as np
import pytest
from numba import njit

from nbnet.kernels import optimizers, products
from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.gradient import _add_penalty
from nbnet.kernels.machine import barrier, moves, tile
from nbnet.kernels.machine.vectors import DEPTH, ROWS, lanes
from nbnet.kernels.optimizers import ADAM, OPTIMIZERS
from nbnet.kernels.records import (
    GROUP_COLUMNS,
    HEAD,
    NODE_COLUMNS,
    OP_COLUMNS,
    REPORT,
    STEP_COLUMNS,
    TASK_COLUMNS,
    Weights,
)
from nbnet.kernels.update import _transpose

pytestmark = pytest.mark.numerical

DTYPES = (np.float32, np.float64)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def called(part):
    """A function by which Python calls a kernel that is made to be called by kernels."""
    return njit(lambda *args: part(*args))


def panels(matrix, rows):
    """`matrix` in panels of V columns and `rows` rows, padded with zeros."""
    v = lanes(matrix.dtype)
    n = -(-matrix.shape[1] // v)
    out = np.zeros((n, rows, v), dtype=matrix.dtype)
    padded = np.zeros((matrix.shape[0], n * v), dtype=matrix.dtype)
    padded[:, : matrix.shape[1]] = matrix
    out[:, : matrix.shape[0]] = padded.reshape(-1, n, v).swapaxes(0, 1)
    return out.ravel()


def matrix(flat, rows, columns):
    """The inverse of `panels`."""
    v = lanes(flat.dtype)
    n = -(-columns // v)
    return flat.reshape(n, -1, v)[:, :rows].swapaxes(0, 1).reshape(rows, -1)[:, :columns]


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("n_panels", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 2, 7, 16])
def test_product_tile(dtype, transposed, n_panels, depth):
    v, rows, rng = lanes(dtype), ROWS, np.random.default_rng(0)
    k = depth * DEPTH
    a = rng.standard_normal((k, v) if transposed else (rows, k)).astype(dtype)
    b = rng.standard_normal((k, n_panels * v)).astype(dtype)
    bias = rng.standard_normal(n_panels * v).astype(dtype)
    name = f"{'transposed_' if transposed else ''}product_{n_panels}"
    product = getattr(tile, name)
    twin = tile._product_twin(transposed, n_panels)
    a_flat, b_flat = panels(a, len(a)), panels(b, k)
    results = []
    for function in (called(product), twin):
        c = np.full((n_panels + 1) * rows * v, 7.0, dtype=dtype)
        function(a_flat, 0, len(a) * v, b_flat, 0, k * v, depth, c, 0, rows * v, bias, 0, 0, v)
        results.append(c)
    expected = bias + (a[:, :rows].T if transposed else a) @ b
    got = matrix(results[0][: n_panels * rows * v], rows, n_panels * v)
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)
    np.testing.assert_allclose(*results, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)
    assert (results[0][n_panels * rows * v :] == 7).all(), "wrote past its tile"


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_panels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [1, 7])
def test_weighted_rows_tile(dtype, n_panels, depth):
    v, rng = lanes(dtype), np.random.default_rng(0)
    k = depth * DEPTH
    a = rng.standard_normal((k, v)).astype(dtype)
    b = rng.standard_normal((k, n_panels * v)).astype(dtype)
    product = getattr(tile, f"weighted_rows_{n_panels}")
    column = v - 1
    for function in (called(product), tile._product_twin(True, n_panels, rows=1)):
        c = np.full((n_panels + 1) * v, 7.0, dtype=dtype)
        start = np.zeros(v, dtype=dtype)
        function(panels(a, k), column, 0, panels(b, k), 0, k * v, depth, c, 0, v, start, 0, 0, 0)
        np.testing.assert_allclose(c[:-v], a[:, column] @ b, rtol=TOLERANCE[dtype] * 10)
        assert (c[-v:] == 7).all(), "wrote past its tile"


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_panels", [1, 3, 8])
def test_row_dots_tile(dtype, n_panels):
    v, rows, rng = lanes(dtype), ROWS, np.random.default_rng(0)
    a = rng.standard_normal((rows, n_panels * v)).astype(dtype)
    b, bias = rng.standard_normal(n_panels * v).astype(dtype), np.array([3, 0.5], dtype=dtype)
    for function in (called(tile.row_dots), tile._row_dots_twin):
        c = np.full(rows * v, 7.0, dtype=dtype)
        function(panels(a, rows), 0, rows * v, b, 0, v, n_panels, c, 2, v, bias, 1, 0)
        column = c.reshape(rows, v)[:, 2]
        tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 10}
        np.testing.assert_allclose(column, a @ b + dtype(0.5), **tolerance)
        assert (np.delete(c.reshape(rows, v), 2, axis=1) == 7).all()
        row = np.arange(2 + rows, dtype=dtype)  # starts from itself, side by side
        function(panels(a, rows), 0, rows * v, b, 0, v, n_panels, row, 2, 1, row, 2, 1)
        np.testing.assert_allclose(row, np.arange(2 + rows) + np.r_[0, 0, a @ b], **tolerance)


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_outer_rows_tile(dtype):
    v, rows, rng = lanes(dtype), ROWS, np.random.default_rng(0)
    x, d = rng.standard_normal((2, 3 + max(rows, v))).astype(dtype)
    for function in (called(tile.outer_rows), tile._outer_twin):
        g = np.full((rows + 2) * v, 7.0, dtype=dtype)
        function(x, 1, d, 2, g, v)
        block = g.reshape(-1, v)
        np.testing.assert_array_equal(block[1:-1], np.outer(x[1 : 1 + rows], d[2 : 2 + v]))
        assert (block[[0, -1]] == 7).all(), "wrote past its tile"


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [1, 2, 4])
@pytest.mark.parametrize("n_panels", [1, 2, 3, 4])
def test_narrow_affine_and_weight_gradient(dtype, units, n_panels):
    v, rng = lanes(dtype), np.random.default_rng(units)
    rows, fan_in = 2 * ROWS, n_panels * v - 1
    x = rng.standard_normal((rows, fan_in)).astype(dtype)
    w = rng.standard_normal((fan_in, units)).astype(dtype)
    bias = rng.standard_normal(units).astype(dtype)
    transposed = np.zeros((DEPTH, fan_in), dtype=dtype)
    transposed[:units] = w.T
    z = np.zeros(rows * v, dtype=dtype)
    called(products.narrow_affine)(
        panels(x, rows), 0, rows * v, 0, rows, v, panels(transposed, DEPTH), 0, n_panels,
        z, 0, units, bias, 0,
    )  # fmt: skip
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 10}
    np.testing.assert_allclose(matrix(z, rows, units), x @ w + bias, **tolerance)
    assert (z.reshape(rows, v)[:, units:] == 0).all()

    g = np.full(n_panels * DEPTH * v, 7.0, dtype=dtype)
    called(products.narrow_weight_gradient)(
        panels(x, rows), 0, rows * v, n_panels, v, z, 0, units, rows // DEPTH, g,
        np.zeros(v, dtype=dtype),
    )  # fmt: skip
    expected = matrix(z, rows, units).T @ x
    np.testing.assert_allclose(matrix(g, units, fan_in), expected, **tolerance)
    assert (matrix(g, DEPTH, fan_in)[units:] == 0).all()


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fan_in", [1, 3, 4, 11])
def test_add_rows(dtype, fan_in):
    rng = np.random.default_rng(fan_in)
    x, w = rng.standard_normal(fan_in).astype(dtype), rng.standard_normal((fan_in, 5)).astype(dtype)
    z = np.ones(5, dtype=dtype)
    called(products.add_rows)(x, w.ravel(), z)
    np.testing.assert_allclose(z, 1 + x @ w, rtol=TOLERANCE[dtype] * 10, atol=TOLERANCE[dtype])


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 4, 8, 15, 16, 40])
def test_copy_row(dtype, n):
    v = lanes(dtype)
    x = np.arange(1, n + 3, dtype=dtype)
    call = called(moves.copy_row)
    for function in (call, moves._copy_twin):
        to = np.full(3 * v, -1, dtype=dtype)
        function(x, 2, n, to, v)
        expected = np.zeros(v)
        expected[: min(n, v)] = x[2 : 2 + min(n, v)]
        np.testing.assert_array_equal(to[v : 2 * v], expected)
        assert (to[:v] == -1).all()
        assert (to[2 * v :] == -1).all()


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_block(dtype):
    v = lanes(dtype)
    a = np.arange(3 + (v + 2) * v, dtype=dtype)
    call = called(moves.transpose_block)
    for function in (call, moves._transpose_twin):
        to = np.full((v + 1) * v + 4, -1, dtype=dtype)
        function(a, 3, v + 2, to, 2, v + 1)
        block = to[2:-2].reshape(v, v + 1)
        np.testing.assert_array_equal(block[:, :v], a[3:].reshape(v, v + 2)[:, :v].T)
        assert (block[:, v] == -1).all()
        assert (to[[0, 1, -2, -1]] == -1).all()


def test_atomics_and_run():
    flags = np.zeros(4, dtype=np.int64)
    store = called(barrier.atomic_store)
    load = called(barrier.atomic_load)
    store(flags, 2, 41)
    assert flags.tolist() == [0, 0, 41, 0]
    assert load(flags, 2) == 41

    @njit
    def halve_run(array, at, n):
        part = moves.run(array, at, n)
        for i in range(part.size):
            part[i] /= 2
        return part.size

    array = np.ones(6)
    assert halve_run(array, 1, 3) == 3
    assert array.tolist() == [1, 0.5, 0.5, 0.5, 1, 1]


@kernel
def places(a, table, i, small, out):
    out[0] = a[i]
    out[1] = a[small]  # an index of another width
    out[2] = a[-1]  # a literal, counted from the back
    out[3] = table[i, 1]
    row = table[i]
    out[4] = row[2]
    out[i + 4] = 7  # an integer into an array of floats
    out[-1] = a[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_in_arrays(dtype):
    """Kernels have code of their own for ``a[i]``; the rest is numba's."""
    a, table = np.arange(10, 15, dtype=dtype), np.arange(12).reshape(4, 3)
    out = np.zeros(8, dtype=dtype)
    called(places)(a, table, 1, np.uint8(3), out)
    assert out.tolist() == [11, 13, 14, 4, 5, 7, 0, 10]


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 16, 33, 48, 64, 80])
def test_affine_and_weight_gradient(dtype, columns):
    v, rng = lanes(dtype), np.random.default_rng(columns)
    rows, fan_in = 2 * ROWS, 3 * ROWS
    x = rng.standard_normal((rows, fan_in)).astype(dtype)
    w = rng.standard_normal((fan_in, columns)).astype(dtype)
    n = -(-columns // v)
    w_flat, x_flat = panels(w, fan_in), panels(x, rows)
    bias = np.zeros(n * v, dtype=dtype)
    bias[:columns] = rng.standard_normal(columns)
    z = np.zeros(n * rows * v, dtype=dtype)
    called(products.affine)(
        x_flat, 0, rows * v, 0, rows, v, w_flat, 0, fan_in * v, n, fan_in // DEPTH, z, 0,
        bias, 0, 0, v,
    )  # fmt: skip
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 10}
    np.testing.assert_allclose(matrix(z, rows, columns), x @ w + bias[:columns], **tolerance)
    one = np.zeros(n * rows * v, dtype=dtype)
    called(products.affine)(
        x_flat, 0, rows * v, 3, 4, v, w_flat, 0, fan_in * v, n, fan_in // DEPTH, one, 0,
        bias, 0, 0, v,
    )  # fmt: skip
    expected = np.zeros((rows, columns))
    expected[3] = x[3] @ w + bias[:columns]
    np.testing.assert_allclose(matrix(one, rows, columns), expected, **tolerance)

    count = min(n, 3)
    g = np.zeros(count * fan_in * v, dtype=dtype)
    called(products.weight_gradient)(
        x_flat, 0, rows * v, 0, fan_in, v, z, 0, count, rows // DEPTH, g, 0, fan_in * v,
        np.zeros(v, dtype=dtype),
    )  # fmt: skip
    used = min(columns, count * v)
    d = matrix(z, rows, columns)[:, :used]
    np.testing.assert_allclose(matrix(g, fan_in, used), x.T @ d, **tolerance)


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 16, 33])
@pytest.mark.parametrize("add", [0, 1])
def test_row_backward_and_weight_gradient(dtype, columns, add):
    v, rng = lanes(dtype), np.random.default_rng(columns)
    inputs = 2 * v + ROWS
    x, dx = rng.standard_normal((2, 1, inputs)).astype(dtype)
    w = rng.standard_normal((inputs, columns)).astype(dtype)
    d = rng.standard_normal((1, columns)).astype(dtype)
    rows, n = 3, -(-columns // v)  # of which one is used
    # Both nodes in one buffer, behind the row of zeros from which sums start.
    work = np.r_[np.zeros(v, dtype=dtype), panels(d, rows), panels(dx, rows)]
    x_at = v + n * rows * v
    called(products.row_backward)(
        work, v, rows * v, n, v, panels(w, inputs), 0, inputs, work, x_at, add
    )
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 10}
    got = matrix(work[x_at:], rows, inputs)
    np.testing.assert_allclose(got[:1], add * dx + d @ w.T, **tolerance)
    assert (got[1:] == 0).all()

    i0, high = ROWS, 2 * ROWS
    g = np.full(n * high * v, 7.0, dtype=dtype)
    called(products.row_weight_gradient)(
        panels(x, rows), 0, rows * v, i0, i0 + high, v, panels(d, rows), 0, n, g, high * v
    )
    expected = np.outer(x[0, i0 : i0 + high], d[0])
    np.testing.assert_array_equal(matrix(g, high, columns), expected)


@pytest.mark.uncompiled
def test_panels_at_once_covers_and_leaves_no_single_panel_behind_three():
    panels_at_once = called(products.panels_at_once)
    for total in range(1, 40):
        taken, left = [], total
        while left:
            taken.append(panels_at_once(left))
            left -= taken[-1]
        assert sum(taken) == total
        assert taken.count(1) == (1 if total == 1 else 0)


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_column_sums(dtype):
    rng, v = np.random.default_rng(0), lanes(dtype)
    d = rng.standard_normal((12, v)).astype(dtype)
    sums = np.full(v, 3, dtype=dtype)
    called(products.column_sums)(d.ravel(), v, sums)
    np.testing.assert_allclose(sums, d.sum(axis=0), rtol=TOLERANCE[dtype] * 10)


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_and_scatter_rows(dtype):
    v, rng = lanes(dtype), np.random.default_rng(0)
    x, w = rng.standard_normal(9).astype(dtype), rng.standard_normal((6, v)).astype(dtype)
    indices = np.array([0, 5, 1, 1, 4, 2, 3, 0, 5], dtype=np.int32)
    begin, end = 1, 8
    dense = np.zeros(6, dtype=dtype)
    np.add.at(dense, indices[begin:end], x[begin:end])
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 10}
    for gather in (called(moves.gather_rows), moves._gather_twin):
        z = np.ones(3 * v, dtype=dtype)
        gather(x, indices, begin, end, np.r_[w[:1].ravel(), w.ravel()], v, z, v)
        np.testing.assert_allclose(z[v : 2 * v], 1 + dense @ w, **tolerance)
        assert (z[:v] == 1).all()
        assert (z[2 * v :] == 1).all()
    for scatter in (called(moves.scatter_rows), moves._scatter_twin):
        g = np.ones(8 * v, dtype=dtype)
        scatter(x, indices, begin, end, w.ravel(), 2 * v, g, v)
        expected = np.ones((8, v))
        expected[1:7] += np.outer(dense, w[2])
        np.testing.assert_allclose(g.reshape(8, v), expected, **tolerance)


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_transposed_copy(dtype):
    v = lanes(dtype)
    fan_in, columns, rng = 2 * v, v + 4, np.random.default_rng(0)
    w = rng.standard_normal((fan_in, columns)).astype(dtype)
    flat = panels(w, fan_in)
    transpose = called(_transpose)
    both = np.zeros(flat.size + -(-fan_in // v) * columns * v, dtype=dtype)
    both[: flat.size] = flat
    for p in range(2):
        for row in (0, v):
            at = (p * fan_in + row) * v
            transpose(both, at, flat.size, v, row, columns, p * v, columns * v, v)
    np.testing.assert_array_equal(both[flat.size :], panels(w.T.copy(), columns))


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_penalty(dtype):
    rng = np.random.default_rng(0)
    gradient, params = rng.standard_normal((2, 37)).astype(dtype)
    expected = gradient + dtype(0.3) * params
    squares = called(_add_penalty)(gradient, params, dtype(0.3))
    np.testing.assert_allclose(squares, (params**2).sum(), rtol=TOLERANCE[dtype] * 10)
    np.testing.assert_allclose(gradient, expected, rtol=TOLERANCE[dtype] * 10)


@pytest.mark.uncompiled
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_touches_its_run_alone(name):
    row = OPTIMIZERS[name]
    p, at, n = 20, 5, 7
    params, state = np.ones(p), np.ones(row.slots * p)
    hyper = np.zeros(optimizers.HYPER)
    settings = np.array([float(value) for value in row.settings.values()])
    called(optimizers.prepare)(row.code, np.array([0.1, 0.0]), settings, 1.0, hyper)
    weights = Weights(params, state, np.empty(0), p)
    called(optimizers.update)(row.code, weights, at, np.full(n, 2.0), np.ones(3), hyper)
    untouched = np.r_[:at, at + n : p]
    assert (params[untouched] == 1).all()
    for slot in state.reshape(row.slots, p):
        assert (slot[untouched] == 1).all()
        assert (slot[at : at + n] != 1).all()


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_moment_without_gradient_fades_to_zero_before_it_is_denormal(dtype):
    params, state, hyper = np.ones(3, dtype), np.zeros(6, dtype), np.zeros(optimizers.HYPER, dtype)
    state[:3] = dtype(1e3) * np.finfo(dtype).tiny, 1e-3, np.nan
    settings = np.array([0.9, 0.999, 1e-8])
    called(optimizers.prepare)(ADAM, np.array([0.1, 0.0]), settings, 1.0, hyper)
    weights = Weights(params, state, np.empty(0, dtype), 3)
    called(optimizers.update)(ADAM, weights, 0, np.zeros(3, dtype), np.ones(3), hyper)
    assert state[0] == 0
    assert state[1] == pytest.approx(9e-4)
    assert np.isnan(state[2]), "NaN keeps its meaning"
    assert params[0] == 1


def test_layout_tables_name_each_column_once():
    for columns in (
        HEAD,
        NODE_COLUMNS,
        OP_COLUMNS,
        REPORT,
        TASK_COLUMNS,
        STEP_COLUMNS,
        GROUP_COLUMNS,
    ):
        assert len(set(columns)) == len(columns)
