"""Session and one contract for every row of OPTIMIZERS: the same steps as the naive twin makes."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import naive
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.graph.session import Session
from nbnet.kernels.losses import LOSSES
from nbnet.kernels.optimizers import OPTIMIZERS, Group
from problems import (
    CSR,
    DTYPES,
    HIDDEN,
    assert_close,
    losses_of,
    mlp,
    n_classes,
    n_raw,
    n_targets,
    overflows,
    problem,
    settings_of,
    sparse_rows,
    tiny,
)

pytestmark = pytest.mark.numerical

ROOT = Path(__file__).parents[1]

LOSS = "half_squared_error"
OPTIONS = {"loss": LOSS, "optimizer": "adam", "batch_size": 4, "alpha": 0.1}

# Settings beside the defaults, for the optimizers that have any.
SETTINGS = {
    "sgd": [{"momentum": 0.5, "nesterov": False}, {"momentum": 0.0}, {"nesterov": True}],
    "adam": [{"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
}
CASES = [(name, {}) for name in OPTIMIZERS] + [
    (name, settings) for name, each in SETTINGS.items() for settings in each
]


def check(
    output, n_rows, n_epochs, batch_size, optimizer, settings, *, loss="softmax_cross_entropy",
    dtype=np.float64, weighted=True, sparse=False, alpha=0.1, tolerance=None, rate=0.02,
):  # fmt: skip
    """Several epochs in shuffled order: losses, parameters, slots and steps are the twin's."""
    net, twin, params, X, y, w = problem(output, loss, n_rows, dtype=dtype, weighted=weighted)
    if sparse:
        X = sparse_rows(n_rows, net.n_features, np.random.default_rng(3), dtype)
    trainer = Session(
        net, params, X, y, w, loss=loss, optimizer=optimizer, batch_size=batch_size, alpha=alpha,
        **settings, **settings_of(loss),
    )  # fmt: skip
    slots, step = None, 0
    rng = np.random.default_rng(5)
    for epoch in range(n_epochs):
        order = rng.permutation(n_rows)
        learning_rate = rate / (1 + epoch)
        actual = trainer.epoch(order, learning_rate)
        expected, params, slots, step, _ = naive.train(
            twin, params, X, y, order, loss=loss, optimizer=optimizer, learning_rate=learning_rate,
            batch_size=batch_size, alpha=alpha, sample_weight=w, slots=slots, step=step,
            n_slots=OPTIMIZERS[optimizer].slots, settings=settings_of(loss), **settings,
        )  # fmt: skip
        assert isinstance(actual, float)
        relative = tolerance or (1e-11 if dtype == np.float64 else 1e-4)
        assert actual == pytest.approx(expected, rel=relative)
    assert trainer.params.dtype == dtype
    assert trainer.slots.shape == (OPTIMIZERS[optimizer].slots, net.n_params)
    assert trainer.step == step
    assert_close(trainer.params, params, relative)
    for actual, expected in zip(trainer.slots, slots, strict=True):
        assert_close(actual, expected, 10 * relative)
    return trainer


def test_every_optimizer_has_a_naive_twin():
    assert naive.missing("OPTIMIZERS", OPTIMIZERS) == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_row_is_complete(name):
    row = OPTIMIZERS[name]
    assert row.name == name
    assert row.slots >= 1
    assert [other.name for other in OPTIMIZERS.values() if other.code == row.code] == [name]
    assert {k: naive.HYPER[k] for k in row.settings} == row.settings


@tiny
@pytest.mark.parametrize(("optimizer", "settings"), CASES)
def test_every_optimizer_on_a_tiny_network(optimizer, settings):
    check(mlp(2, (3, 2), 2, ["softplus", "logistic"]), 5, 3, 2, optimizer, settings)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, 64, 65, 300])
@pytest.mark.parametrize(("optimizer", "settings"), CASES)
def test_every_optimizer_and_batch(optimizer, settings, batch_size, dtype):
    """With a short last batch, but for one size that divides the rows and one that is all."""
    check(mlp(7, (17, 3), 5, "tanh"), 130, 3, batch_size, optimizer, settings, dtype=dtype)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("widths", [(), (1,), (37,), (90, 37), (3, 7, 17), (7, 5, 3, 2)])
def test_every_depth_and_width(widths, optimizer):
    check(mlp(17, widths, 3, "softplus"), 100, 3, 33, optimizer, {})


@pytest.mark.parametrize("activation", HIDDEN)
def test_every_activation(activation):
    check(mlp(7, (17, 5), 3, activation), 100, 3, 33, "adam", {}, tolerance=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss, optimizer):
    output = mlp(7, (17,), n_raw(loss, 3), "tanh")
    check(output, 100, 3, 33, optimizer, {}, loss=loss, tolerance=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_sparse_rows(optimizer, dtype):
    check(mlp(37, (17,), 3, "tanh"), 100, 3, 33, optimizer, {}, dtype=dtype, sparse=True)


@pytest.mark.parametrize("variant", CSR)
def test_sparse_rows_of_every_kind_train_as_dense_ones(variant):
    loss = "half_squared_error"
    net, _, params, _, y, _ = problem(mlp(17, (7,), 2, "tanh"), loss, 60, weighted=False)
    X = CSR[variant](sparse_rows(60, 17, np.random.default_rng(0)))
    order = np.random.default_rng(1).permutation(60)
    options = {"loss": loss, "optimizer": "adam", "batch_size": 25, "alpha": 0.1}
    sparse, dense = (Session(net, params, rows, y, **options) for rows in (X, X.toarray()))
    for _ in range(3):
        assert sparse.epoch(order, 0.02) == pytest.approx(dense.epoch(order, 0.02), rel=1e-12)
    assert_close(sparse.params, dense.params)


@pytest.mark.parametrize("batch_size", [1, 33])
def test_a_graph_with_every_op(batch_size):
    x = g.input(5, name="x")
    a = g.tanh(g.dense(x, 7, name="a"))
    b = g.maxout(x, 7, pieces=3, name="b")
    h = g.add(g.multiply(a, b), g.multiply(a, a), b)
    c = g.softplus(g.dense(h, 70, name="c"))
    d = g.gelu(g.layer_norm(c, name="d"))
    output = g.dense(g.concat(h, x, c, d), 3, name="output")
    check(output, 100, 3, batch_size, "adam", {}, tolerance=1e-9)
    check(output, 100, 3, batch_size, "sgd", {}, tolerance=1e-9, sparse=True)


def test_golden_curve_of_a_maxout_network():
    """Thirty epochs of Adam follow the independent implementation, and they learn."""
    loss = "softmax_cross_entropy"
    net, twin, params, X, _, _ = problem(
        mlp(4, (11, 6), 3, "maxout", pieces=3), loss, 90, weighted=False
    )
    y = np.digitize(X[:, 0] * X[:, 1] - X[:, 2], [-0.7, 0.7]).astype(np.float64)[:, None]
    trainer = Session(net, params, X, y, loss=loss, optimizer="adam", batch_size=20, alpha=1e-3)
    slots, step, rng = None, 0, np.random.default_rng(0)
    actual, expected = [], []
    for _ in range(30):
        order = rng.permutation(90)
        actual.append(trainer.epoch(order, 0.01))
        value, params, slots, step, _ = naive.train(
            twin, params, X, y, order, loss=loss, optimizer="adam", learning_rate=0.01,
            batch_size=20, alpha=1e-3, slots=slots, step=step, n_slots=2,
        )  # fmt: skip
        expected.append(value)
    np.testing.assert_allclose(actual, expected, rtol=1e-8)
    np.testing.assert_allclose(trainer.params, params, rtol=1e-6, atol=1e-8)
    assert actual[-1] < 0.3 * actual[0]
    correct = net.forward(trainer.params, X, loss=loss).argmax(axis=1) == y[:, 0]
    assert correct.mean() > 0.93  # 0.977 or more over ten seeds and three processors


@tiny
@pytest.mark.parametrize("rows_at_once", [4, 8, 11, 64])
def test_the_gradient_of_all_rows_is_collected(rows_at_once, monkeypatch):
    monkeypatch.setattr("nbnet.graph.session.ROWS_AT_ONCE", rows_at_once)
    net, twin, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    session = Session(net, params, X, y, w, loss=LOSS, alpha=0.1, optimizer=None)
    order = np.random.default_rng(0).permutation(11)
    value, expected = twin.loss_and_gradient(params, X, y, loss=LOSS, alpha=0.1, sample_weight=w)
    for _ in range(2):
        loss, gradient = session.gradient(order=order)
        assert_close(loss, value)
        assert_close(gradient, expected)
    np.testing.assert_array_equal(session.params, params)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_gradient_and_its_application_are_a_step(optimizer, dtype):
    """Bitwise: both halves of phase 2, in one process or in two."""
    net, _, params, X, y, w = problem(mlp(3, (9, 4), 2, "tanh"), LOSS, 11, dtype=dtype)
    together = Session(
        net, params, X, y, w, **(OPTIONS | {"optimizer": optimizer, "batch_size": None})
    )
    updating = Session(
        net, params, X, y, w, **(OPTIONS | {"optimizer": optimizer, "batch_size": None})
    )
    looking = Session(net, params, X, y, w, loss=LOSS, alpha=0.1, optimizer=None)
    for learning_rate in (0.05, 0.02, 0.01):
        step = np.array([learning_rate, 0.3, 1.0])
        loss = together.epoch(np.arange(11), step[np.newaxis])
        other, gradient = looking.gradient(updating.params)
        updating.apply(gradient, step)
        assert loss == other
        assert updating.step == together.step
        np.testing.assert_array_equal(updating.params, together.params)
        np.testing.assert_array_equal(updating.slots, together.slots)


@tiny
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_steps_of_an_epoch_have_their_own_learning_rate_and_decay(optimizer):
    """Weight decay is decoupled, and biases go free."""
    net, twin, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    session = Session(net, params, X, y, w, **(OPTIONS | {"optimizer": optimizer}))
    steps = np.array([[0.05, 0.0, 1.0], [0.02, 0.5, 1.0], [0.1, 0.25, 1.0]])
    session.epoch(np.arange(11), steps)
    decayed = np.zeros(net.n_params)
    for p in net.parameters:
        decayed[p.place] = p.group == "weights"
    slots = np.zeros((OPTIMIZERS[optimizer].slots, net.n_params))
    batches = zip(steps, np.split(np.arange(11), [4, 8]), strict=True)
    for t, ((learning_rate, decay, _), rows) in enumerate(batches, start=1):
        before = params
        params = params * (1 - learning_rate * decay * decayed)
        _, gradient = twin.loss_and_gradient(
            before, X[rows], y[rows], loss=LOSS, alpha=0.1, sample_weight=w[rows]
        )
        params = naive.OPTIMIZERS[optimizer](params, gradient, slots, t, learning_rate, naive.HYPER)
    assert_close(session.params, params)


@tiny
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_group_has_its_own_learning_rate(optimizer):
    net, _, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    options = OPTIONS | {"optimizer": optimizer, "batch_size": None}
    plain = Session(net, params, X, y, w, **options)
    slow = Session(net, params, X, y, w, groups={"biases": Group(0.1, 0.0, 0.0)}, **options)
    for session in (plain, slow):
        session.epoch(np.arange(11), 0.05)
    for p in net.parameters:
        moved = plain.params[p.place] - params[p.place]
        factor = 0.1 if p.group == "biases" else 1.0
        assert_close(slow.params[p.place] - params[p.place], factor * moved, 1e-9)


@tiny
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_larger_than_the_buffers_is_taken_in_parts(optimizer, sparse, monkeypatch):
    net, _, params, X, y, w = problem(mlp(3, (5, 4), 2, "tanh"), LOSS, 29)
    X = csr_matrix(X) if sparse else X
    order = np.random.default_rng(0).permutation(29)
    options = OPTIONS | {"optimizer": optimizer, "batch_size": 21}
    whole = Session(net, params, X, y, w, **options)
    expected = [whole.epoch(order, 0.05) for _ in range(3)]
    monkeypatch.setattr("nbnet.graph.session.ROWS_AT_ONCE", 8)
    parts = Session(net, params, X, y, w, **options)
    assert parts.plan.rows < whole.plan.rows
    np.testing.assert_allclose([parts.epoch(order, 0.05) for _ in range(3)], expected, rtol=1e-12)
    assert_close(parts.params, whole.params)
    assert_close(parts.slots, whole.slots)
    assert parts.step == whole.step


# Semantics of an epoch ------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_sessions_in_sequence_are_one(optimizer):
    """Parameters, slots and step are all there is to go on from."""
    net, _, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    options = OPTIONS | {"optimizer": optimizer}
    rng = np.random.default_rng(0)
    orders = [rng.permutation(11) for _ in range(4)]
    one = Session(net, params, X, y, w, **options)
    losses = [one.epoch(order, 0.05) for order in orders]
    first = Session(net, params, X, y, w, **options)
    again = [first.epoch(order, 0.05) for order in orders[:2]]
    second = Session(net, first.params, X, y, w, slots=first.slots, step=first.step, **options)
    again += [second.epoch(order, 0.05) for order in orders[2:]]
    assert again == losses
    assert second.step == one.step == 12
    np.testing.assert_array_equal(second.params, one.params)
    np.testing.assert_array_equal(second.slots, one.slots)


@tiny
def test_an_order_may_leave_rows_out_and_repeat_others():
    net, twin, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    for order in ([3], [10, 0], [5, 5, 5, 5, 5], np.arange(2, 9), np.tile(np.arange(11), 3)):
        order = np.array(order, dtype=np.int64)
        trainer = Session(net, params, X, y, np.maximum(w, 0.5), **OPTIONS)
        actual = trainer.epoch(order, 0.05)
        expected, expected_params, _, step, _ = naive.train(
            twin, params, X, y, order, learning_rate=0.05, sample_weight=np.maximum(w, 0.5),
            n_slots=2, **OPTIONS,
        )  # fmt: skip
        assert actual == pytest.approx(expected, rel=1e-12)
        assert trainer.step == step
        assert_close(trainer.params, expected_params)


@tiny
def test_an_empty_order_is_no_step():
    net, _, params, X, y, _ = problem(mlp(3, (5,), 2, "tanh"), LOSS, 5, weighted=False)
    trainer = Session(net, params, X, y, **OPTIONS)
    assert trainer.epoch(np.empty(0, dtype=np.int64), 0.05) == 0.0
    assert trainer.step == 0
    np.testing.assert_array_equal(trainer.params, params)


@tiny
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_batches_without_weight_are_passed_over(optimizer):
    """As if their rows had not been in the order at all."""
    net, _, params, X, y, _ = problem(mlp(3, (5,), 2, "tanh"), LOSS, 16, weighted=False)
    w = np.ones(16)
    w[4:8] = 0.0  # the second of four batches
    w[12] = 0.0
    options = OPTIONS | {"optimizer": optimizer}
    rows = np.arange(16)
    with_them = Session(net, params, X, y, w, **options)
    without = Session(net, params, X, y, w, **options)
    for _ in range(2):
        expected = without.epoch(np.delete(rows, np.s_[4:8]), 0.05)
        assert with_them.epoch(rows, 0.05) == pytest.approx(expected, rel=1e-14)
    assert with_them.step == without.step == 6
    np.testing.assert_array_equal(with_them.params, without.params)
    assert with_them.epoch(rows[4:8], 0.05) == 0.0
    assert with_them.step == 6
    np.testing.assert_array_equal(with_them.params, without.params)


@tiny
def test_the_loss_is_measured_before_each_update_and_averaged_over_rows():
    net, _, params, X, y, _ = problem(mlp(3, (5,), 2, "tanh"), LOSS, 10, weighted=False)
    trainer = Session(net, params, X, y, **OPTIONS)
    losses = []
    for batch in (np.arange(4), np.arange(4, 8), np.arange(8, 10)):
        value, _ = net.loss_and_gradient(trainer.params, X[batch], y[batch], loss=LOSS, alpha=0.1)
        losses.append(value)
        assert trainer.epoch(batch, 0.05) == pytest.approx(value, rel=1e-13)
    whole = Session(net, params, X, y, **OPTIONS)
    mean = np.average(losses, weights=[4, 4, 2])
    assert whole.epoch(np.arange(10), 0.05) == pytest.approx(mean, rel=1e-13)
    np.testing.assert_array_equal(whole.params, trainer.params)


@tiny
@overflows
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_a_loss_that_is_not_finite_ends_the_epoch_before_its_update(bad, optimizer, dtype):
    net, _, params, X, y, _ = problem(
        mlp(3, (), 2), "half_poisson_deviance", 12, dtype=dtype, weighted=False
    )
    X = X.copy()
    X[6] = np.where(params[:6:2] > 0, bad, -bad)  # the first output of row 6 is beyond exp
    options = OPTIONS | {"optimizer": optimizer, "loss": "half_poisson_deviance"}
    trainer = Session(net, params, X, y, **options)
    value = trainer.epoch(np.arange(12), 0.01)
    assert isinstance(value, float)
    assert not np.isfinite(value)
    assert trainer.step == 1
    until = Session(net, params, X, y, **options)
    until.epoch(np.arange(4), 0.01)
    np.testing.assert_array_equal(trainer.params, until.params)
    np.testing.assert_array_equal(trainer.slots, until.slots)
    # and it can be gone on with
    rest = np.arange(8, 12)
    assert trainer.epoch(rest, 0.01) == until.epoch(rest, 0.01)
    np.testing.assert_array_equal(trainer.params, until.params)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_forward_with_the_current_parameters(dtype):
    net, _, params, X, y, _ = problem(
        mlp(3, (5,), 2, "maxout"), LOSS, 11, dtype=dtype, weighted=False
    )
    trainer = Session(net, params, X, y, **OPTIONS)
    for _ in range(2):
        np.testing.assert_array_equal(trainer.forward(X), net.forward(trainer.params, X))
        trainer.epoch(np.arange(11), 0.05)
    for loss in losses_of(2):
        np.testing.assert_array_equal(
            trainer.forward(X, loss), net.forward(trainer.params, X, loss=loss)
        )


@tiny
def test_forward_of_sparse_rows_after_dense_ones_and_the_other_way_round():
    net, _, params, X, y, _ = problem(mlp(5, (4,), 2, "tanh"), LOSS, 11, weighted=False)
    for rows, others in ((X, csr_matrix(X)), (csr_matrix(X), X)):
        trainer = Session(net, params, rows, y, **OPTIONS)
        trainer.epoch(np.arange(11), 0.05)
        assert_close(trainer.forward(others), net.forward(trainer.params, rows))


@tiny
def test_what_goes_in_and_out_is_copied():
    net, _, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    given = [params, X, y, w, np.zeros((2, net.n_params))]
    copies = [array.copy() for array in given]
    trainer = Session(net, params, X, y, w, slots=given[-1], **OPTIONS)
    out = [trainer.params, trainer.slots]
    before = [array.copy() for array in out]
    trainer.epoch(np.arange(11), 0.05)
    for array, copy in zip(given + out, copies + before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not np.array_equal(trainer.params, params)
    out[0][:] = np.nan
    assert np.isfinite(trainer.params).all()


@tiny
def test_read_only_and_strided_arrays():
    net, _, params, X, y, w = problem(mlp(3, (5,), 2, "tanh"), LOSS, 11)
    expected = Session(net, params, X, y, w, **OPTIONS)
    strided = [np.repeat(array, 2, axis=0)[::2] for array in (params, X, y, w)]
    for array in strided:
        array.flags.writeable = False
    actual = Session(net, *strided, **OPTIONS)
    order = np.arange(22)[::2] % 11
    order.flags.writeable = False
    assert actual.epoch(order, 0.05) == expected.epoch(order.copy(), 0.05)
    np.testing.assert_array_equal(actual.params, expected.params)


# Threads --------------------------------------------------------------------------------------

FINGERPRINT = """
import hashlib
import numpy as np
from scipy import sparse
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.graph.session import Session

digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    for rows, width, batch, kind in ((700, 5, 7, "small"), (1500, 120, 333, "large"),
                                     (1500, 120, 333, "sparse")):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((rows, width)).astype(dtype)
        y = rng.integers(0, 5, (rows, 1)).astype(dtype)
        w = rng.random(rows).astype(dtype)
        x = g.input(width, name="x")
        h = g.tanh(g.dense(x, 90))
        h = g.maxout(g.concat(h, x, g.softplus(h)), 101, pieces=3)
        net = Network(g.dense(g.add(h, g.relu(g.dense(h, 101))), 5))
        if kind == "sparse":
            X = sparse.csr_matrix(X * (rng.random(X.shape) < 0.1))
        for optimizer in ("adam", "sgd"):
            trainer = Session(net, net.init(0, dtype=dtype), X, y, w, optimizer=optimizer,
                              loss="softmax_cross_entropy", batch_size=batch, alpha=0.01)
            losses = [trainer.epoch(rng.permutation(rows), 0.01) for _ in range(2)]
            digest.update(np.array(losses).tobytes())
            digest.update(trainer.params.tobytes())
            digest.update(trainer.slots.tobytes())
        value, gradient = net.loss_and_gradient(trainer.params, X, y, sample_weight=w,
                                                loss="softmax_cross_entropy", alpha=0.1)
        digest.update(np.array(value).tobytes())
        digest.update(gradient.tobytes())
        digest.update(net.forward(trainer.params, X, loss="softmax_cross_entropy").tobytes())
        at_x, at_h = net.gradients(trainer.params, X, y, loss="softmax_cross_entropy", wrt=[x, h])
        digest.update(at_x.tobytes() + at_h.tobytes())
print(digest.hexdigest())
"""


def test_the_number_of_threads_changes_no_bit():
    prints = {}
    for n_threads in (1, 2, 5):
        environment = os.environ | {"NUMBA_NUM_THREADS": str(n_threads)}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-c", FINGERPRINT], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        prints[n_threads] = done.stdout
    assert len(prints[1]) == 2 * hashlib.sha256().digest_size + 1
    assert set(prints.values()) == {prints[1]}


# Interruption ---------------------------------------------------------------------------------


@pytest.fixture
def interruptible():
    """Shells have their background jobs ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_an_epoch_and_leaves_usable_parameters():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 300)).astype(np.float32)
    y = rng.standard_normal((1000, 1)).astype(np.float32)
    net = Network(mlp(300, (500, 500), 1, "relu"))
    params = net.init(0, dtype=np.float32)
    trainer = Session(net, params, X, y, loss=LOSS, optimizer="sgd", batch_size=200, alpha=0.0)
    trainer.epoch(np.arange(200), 1e-4)  # compiled by now
    began = time.perf_counter()
    trainer.epoch(np.arange(1000), 1e-4)
    pace = time.perf_counter() - began
    order = np.tile(np.arange(1000), 3000)  # 3000 times that work: some minutes
    pressed = []

    def press():
        pressed.append(time.perf_counter())
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(20 * pace, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.epoch(order, 1e-4)
    assert time.perf_counter() - pressed[0] < 100 * pace  # by this machine's clock, not another's
    timer.join()
    assert trainer.step > 1
    assert np.isfinite(trainer.params).all()
    assert not np.array_equal(trainer.params, params)
    step = trainer.step
    assert np.isfinite(trainer.epoch(np.arange(1000), 1e-4))
    assert trainer.step == step + 5


# Errors ---------------------------------------------------------------------------------------


@pytest.fixture
def small():
    """Positional arguments of a Trainer that fit one another."""
    net = Network(mlp(3, (4,), 2))
    return [net, net.init(0), np.ones((5, 3)), np.ones((5, 2)), None]


@tiny
@pytest.mark.parametrize(
    ("option", "value", "match"),
    [
        ("loss", "hinge", "loss.*half_squared_error.*hinge"),
        ("optimizer", "lbfgs", "optimizer.*adam.*lbfgs"),
        ("batch_size", 0, "batch_size.*0"),
        ("slots", np.zeros((1, 3)), r"slots.*\(2, 26\).*\(1, 3\)"),
    ],
)
def test_wrong_options(small, option, value, match):
    with pytest.raises(ValueError, match=match):
        Session(*small, **(OPTIONS | {option: value}))


@tiny
def test_settings_of_another_optimizer(small):
    with pytest.raises(TypeError, match=r"adam.*beta_1.*momentum"):
        Session(*small, **OPTIONS, momentum=0.5)


@tiny
@pytest.mark.parametrize(
    ("position", "value", "match"),
    [
        (1, np.zeros(25), r"params.*\(26,\).*\(25,\)"),
        (2, np.ones((5, 4)), r"X.*3\).*\(5, 4\)"),
        (2, np.ones((4, 3)), r"y.*\(4, 2\).*\(5, 2\)"),
        (3, np.ones((5, 1)), r"y.*\(5, 2\).*\(5, 1\)"),
        (3, np.full((5, 2), np.nan), "y.*nan"),
        (4, np.ones(4), r"sample_weight.*\(5,\).*\(4,\)"),
        (4, -np.ones(5), "sample_weight.*-1"),
    ],
)
def test_wrong_arrays(small, position, value, match):
    small[position] = value
    with pytest.raises(ValueError, match=match):
        Session(*small, **OPTIONS)


@tiny
@pytest.mark.parametrize("loss", LOSSES)
def test_targets_outside_the_range(small, loss):
    row = LOSSES[loss]
    small[3] = np.ones((5, n_targets(loss, 2)))
    Session(*small, **(OPTIONS | {"loss": loss}))
    high = n_classes(loss, 2) - 1 if row.integer_targets else row.y_high
    for wrong in (row.y_low - 1.0, high + 1.0):
        small[3][-1, -1] = wrong
        with pytest.raises(ValueError, match=f"y.*{loss}"):
            Session(*small, **(OPTIONS | {"loss": loss}))


@tiny
@pytest.mark.parametrize("order", [[0, 5], [-1], [0, 1, 10**12]])
def test_rows_that_do_not_exist(small, order):
    trainer = Session(*small, **OPTIONS)
    with pytest.raises(ValueError, match=r"order.*\[0, 4\]"):
        trainer.epoch(np.array(order), 0.1)
    np.testing.assert_array_equal(trainer.params, small[1])
    assert trainer.step == 0
