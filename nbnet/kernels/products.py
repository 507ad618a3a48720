"""The three products of a dense layer, over panels (see `_tile`).

===========  =======================  ==========================================
function     result                   sums over
===========  =======================  ==========================================
forward      Z = X W + b              inputs
backward     dX = dZ W^T (+= dX)      units, from the transposed copy of W
gradient     dW = X^T dZ              rows of the batch
===========  =======================  ==========================================

`forward` and `backward` are the same loop over different buffers, `affine`; what they start from
(a bias row, zeros, or the result so far) is an argument. Three panels are taken at a time as long
as that leaves no single one over: 4 = 2 + 2.

For batches of one row, to refresh the transposed copy costs more than it saves. There is none:
`row_backward` takes dot products with the rows of W. `row_weight_gradient` has nothing to sum.

A layer of one to ``DEPTH`` units, such as the output of a binary classifier, would leave most of a
vector idle. Its weights are kept as the transposed copy alone (see `nbnet.plan`), lanes run over
its inputs: `narrow_affine`, `narrow_weight_gradient`. The way back is `affine`, as for all.
"""

from nbnet.kernels.compile.jit import kernel
from nbnet.kernels.machine.elementary import fma
from nbnet.kernels.machine.moves import run
from nbnet.kernels.machine.tile import (
    outer_rows,
    product_1,
    product_2,
    product_3,
    row_dots,
    row_product_1,
    row_product_2,
    row_product_3,
    transposed_product_1,
    transposed_product_2,
    transposed_product_3,
    weighted_rows_1,
    weighted_rows_2,
    weighted_rows_3,
    weighted_rows_4,
)
from nbnet.kernels.machine.vectors import DEPTH, ROWS

__all__ = [
    "NARROW_PANELS",
    "add_columns",
    "add_rows",
    "affine",
    "column_products",
    "column_sums",
    "narrow_affine",
    "narrow_weight_gradient",
    "panels_at_once",
    "row_backward",
    "row_weight_gradient",
    "weight_gradient",
]

NARROW_PANELS = 4  # of the input, that `narrow_weight_gradient` takes at a time


@kernel
def panels_at_once(left):
    """How many of `left` panels the next tile takes: 1, 2 or 3."""
    if left == 3 or left >= 5:
        return 3
    return min(left, 2)


@kernel
def _affine_row(a, a_at, a_panel, b, b_at, b_panel, panels, depth, c, c_at, start, s_at, s_panel):
    """One row of `affine`: the tile's others would be padding."""
    j = 0
    while j < panels:
        n = panels_at_once(panels - j)
        bj, cj, sj = b_at + j * b_panel, c_at + j * a_panel, s_at + j * s_panel
        if n == 3:
            row_product_3(
                a, a_at, a_panel, b, bj, b_panel, depth, c, cj, a_panel, start, sj, 0, s_panel
            )
        elif n == 2:
            row_product_2(
                a, a_at, a_panel, b, bj, b_panel, depth, c, cj, a_panel, start, sj, 0, s_panel
            )
        else:
            row_product_1(
                a, a_at, a_panel, b, bj, b_panel, depth, c, cj, a_panel, start, sj, 0, s_panel
            )
        j += n


@kernel
def affine(
    a,
    a_at,
    a_panel,
    r0,
    r1,
    v,
    b,
    b_at,
    b_panel,
    panels,
    depth,
    c,
    c_at,
    start,
    s_at,
    s_row,
    s_panel,
):
    """Rows `r0` to `r1` of ``C = start + A B``.

    Parameters
    ----------
    a, c : (work,) panels of the left operand and of the result, both with `a_panel` numbers each.
    r0, r1 : int
        Rows, multiples of the tile's ``ROWS``; or one row.
    v : int
        Width of a panel.
    b : flat panels of the right operand, `b_panel` numbers each.
    panels : int
        Panels of B and C.
    depth : int
        Common dimension in groups of ``DEPTH``.
    start : flat numbers the sums start from, at ``s_at + row * s_row + panel * s_panel``.
    """
    if r1 - r0 == 1:
        _affine_row(
            a, a_at + r0 * v, a_panel, b, b_at, b_panel, panels, depth,
            c, c_at + r0 * v, start, s_at + r0 * s_row, s_panel,
        )  # fmt: skip
        return
    j = 0
    while j < panels:
        n = panels_at_once(panels - j)
        bj = b_at + j * b_panel
        cj = c_at + j * a_panel
        sj = s_at + j * s_panel
        if n == 3:
            for r in range(r0, r1, ROWS):
                product_3(
                    a, a_at + r * v, a_panel, b, bj, b_panel, depth,
                    c, cj + r * v, a_panel, start, sj + r * s_row, s_row, s_panel,
                )  # fmt: skip
        elif n == 2:
            for r in range(r0, r1, ROWS):
                product_2(
                    a, a_at + r * v, a_panel, b, bj, b_panel, depth,
                    c, cj + r * v, a_panel, start, sj + r * s_row, s_row, s_panel,
                )  # fmt: skip
        else:
            for r in range(r0, r1, ROWS):
                product_1(
                    a, a_at + r * v, a_panel, b, bj, b_panel, depth,
                    c, cj + r * v, a_panel, start, sj + r * s_row, s_row, s_panel,
                )  # fmt: skip
        j += n


@kernel
def weight_gradient(x, x_at, panel, i0, i1, v, d, d_at, panels, depth, g, g_at, g_panel, zeros):
    """Rows `i0` to `i1` of ``G = X^T D`` for one to three panels of D.

    Parameters
    ----------
    x, d : (work,) panels of the layer's input and of the gradient at its output, `panel` numbers
        each.
    i0, i1 : int
        Rows of the weight matrix (columns of X), multiples of ``ROWS``.
    depth : int
        Rows of the batch in groups of ``DEPTH``.
    g : flat panels of the result, `g_panel` numbers each; row `i0` lies at `g_at`.
    zeros : flat, at least `v` zeros.
    """
    for i in range(i0, i1, ROWS):
        at = x_at + (i // v) * panel + i % v
        to = g_at + (i - i0) * v
        if panels == 3:
            transposed_product_3(x, at, 0, d, d_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)
        elif panels == 2:
            transposed_product_2(x, at, 0, d, d_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)
        else:
            transposed_product_1(x, at, 0, d, d_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)


@kernel
def narrow_affine(a, a_at, a_panel, r0, r1, v, b, b_at, panels, c, c_at, units, bias, bias_at):
    """Rows `r0` to `r1` of ``C = bias + A B`` for one to ``DEPTH`` columns.

    Parameters
    ----------
    a : (work,) panels of the left operand, `a_panel` numbers each.
    r0, r1 : int
        Rows, multiples of the tile's ``ROWS``.
    v : int
        Width of a panel.
    b : flat panels of B^T, ``DEPTH`` rows each.
    panels : int
        Panels of A and B^T.
    c : (work,) one panel.
    units : int
        Columns of B and C.
    bias : flat, a number per column from `bias_at`.
    """
    for unit in range(units):
        for r in range(r0, r1, ROWS):
            row_dots(
                a, a_at + r * v, a_panel, b, b_at + unit * v, DEPTH * v, panels,
                c, c_at + r * v + unit, v, bias, bias_at + unit, 0,
            )  # fmt: skip


@kernel
def narrow_weight_gradient(x, x_at, panel, panels, v, d, d_at, units, depth, g, zeros):
    """``G^T = D^T X`` for one to four panels of X and one to ``DEPTH`` columns of D.

    Parameters
    ----------
    x, d : (work,) panels of the layer's input and of the gradient at its output, `panel` numbers
        each.
    depth : int
        Rows of the batch in groups of ``DEPTH``.
    g : (panels * DEPTH * v,) panels of the result, ``DEPTH`` rows each; those past `units` are 0.
    zeros : flat, at least `v` zeros.
    """
    for i in range(g.size):
        g[i] = 0
    for unit in range(units):
        at, to, g_panel = d_at + unit, unit * v, DEPTH * v
        if panels == 4:
            weighted_rows_4(d, at, 0, x, x_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)
        elif panels == 3:
            weighted_rows_3(d, at, 0, x, x_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)
        elif panels == 2:
            weighted_rows_2(d, at, 0, x, x_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)
        else:
            weighted_rows_1(d, at, 0, x, x_at, panel, depth, g, to, g_panel, zeros, 0, 0, 0)


@kernel
def row_backward(d, d_at, d_panel, panels, v, w, w_at, inputs, x, x_at, add):
    """One row of ``dX = D W^T``, or of ``dX += D W^T`` if `add` is 1, from W itself.

    Sums start from dX so far, or from the zero at the head of its buffer.

    Parameters
    ----------
    d, x : (work,) panels of the row's gradients at the layer's output and input, `d_panel` numbers
        each.
    panels : int
        Panels of D and W.
    v : int
        Width of a panel.
    w : flat panels of W, `inputs` rows each; a multiple of ``ROWS``.
    """
    for i in range(0, inputs, ROWS):
        at = x_at + (i // v) * d_panel + i % v
        row_dots(w, w_at + i * v, inputs * v, d, d_at, d_panel, panels, x, at, 1, x, add * at, add)


@kernel
def row_weight_gradient(x, x_at, panel, i0, i1, v, d, d_at, panels, g, g_panel):
    """`weight_gradient` of one row, for any number of panels; the result lies from ``g[0]``."""
    for p in range(panels):
        for i in range(i0, i1, ROWS):
            at = x_at + (i // v) * panel + i % v
            outer_rows(x, at, d, d_at + p * panel, g, p * g_panel + (i - i0) * v)


@kernel
def add_rows(x, w, z):
    """``z += x W`` for one row x and a matrix W in C order.

    Four rows of W at a time, so that z is not written back after each. Added and rounded as in the
    tile: a row predicted alone has the bits that it has among others.
    """
    n = z.size
    left = x.size % 4
    for i in range(left):
        row = run(w, i * n, n)
        for j in range(n):
            z[j] = fma(x[i], row[j], z[j])
    for i in range(left, x.size, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        rows = run(w, i * n, 4 * n)
        second, third, fourth = run(rows, n, n), run(rows, 2 * n, n), run(rows, 3 * n, n)
        for j in range(n):
            begun = fma(b, second[j], fma(a, rows[j], z[j]))
            z[j] = fma(d, fourth[j], fma(c, third[j], begun))


@kernel
def add_columns(x, w, z, sums):
    """``z += x W`` for one row x and a matrix W of few columns in C order.

    Added and rounded as in `narrow_affine`: by V sums over every V-th row of W, of which the upper
    half is then added to the lower, until one is left. `sums` is room for them.
    """
    n = z.size
    for unit in range(n):
        for i in range(sums.size):
            sums[i] = 0
        for k in range(0, x.size, sums.size):
            for i in range(min(sums.size, x.size - k)):
                sums[i] = fma(x[k + i], w[(k + i) * n + unit], sums[i])
        left = sums.size // 2
        while left > 0:
            for i in range(left):
                sums[i] += sums[left + i]
            left //= 2
        z[unit] += sums[0]


@kernel
def column_sums(d, v, sums):
    """``sums = sum of the rows`` of one panel `d`; its rows are a multiple of four.

    Four rows are added to each other before they join the sum, so that additions need not wait
    for one another.
    """
    for k in range(v):
        sums[k] = 0
    for r in range(0, d.size, 4 * v):
        a, b, c, e = run(d, r, v), run(d, r + v, v), run(d, r + 2 * v, v), run(d, r + 3 * v, v)
        for k in range(v):
            sums[k] += (a[k] + b[k]) + (c[k] + e[k])


@kernel
def column_products(d, x, v, sums):
    """``sums = sum of the rows of d x``, element by element; otherwise as `column_sums`."""
    for k in range(v):
        sums[k] = 0
    for r in range(0, d.size, 4 * v):
        a, b, c, e = run(d, r, v), run(d, r + v, v), run(d, r + 2 * v, v), run(d, r + 3 * v, v)
        f, g, h, i = run(x, r, v), run(x, r + v, v), run(x, r + 2 * v, v), run(x, r + 3 * v, v)
        for k in range(v):
            sums[k] += (a[k] * f[k] + b[k] * g[k]) + (c[k] * h[k] + e[k] * i[k])
