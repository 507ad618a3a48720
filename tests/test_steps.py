"""What a step may do beside the optimizer's own: dropout, weight decay, clipping, an average."""

import numpy as np
import pytest
from scipy import stats

import finite_differences
import naive
from nbnet import graph as g
from nbnet.graph import session as session_module
from nbnet.graph.session import Session
from nbnet.kernels import threads
from nbnet.kernels.compile.jit import COMPILED, compilations
from nbnet.kernels.compile.jit import kernel as compiled
from nbnet.kernels.machine.random import bits, keys
from nbnet.kernels.records import STEP_COLUMNS
from problems import CSR, DTYPES, assert_close, build, mlp, problem, sparse_rows

pytestmark = pytest.mark.numerical

LOSS = "half_squared_error"
SEED = 2**61 + 12345


def with_dropout(rate=0.3):
    """Two paths, one of them through dropout of an input, and dropout of a sum."""
    x = g.input(5, name="x")
    h = g.dropout(g.relu(g.dense(x, 19, name="a")), rate)
    other = g.tanh(g.dense(g.dropout(x, 0.2), 19, name="b"))
    return g.dense(g.dropout(g.add(h, other), rate), 3, name="output")


def masks_of(session, twin, seed):
    """The twin's masks of a step: `masks(step, n_rows)`."""
    dropped = [node for node in twin.nodes if node.op == "dropout"]

    def masks(step, n_rows):
        place = session.plan._index
        return {
            node: naive.dropout_mask(
                node.numbers["rate"], seed, step, place[id(node)], n_rows, node.width
            )
            for node in dropped
        }

    return masks


# Random numbers -------------------------------------------------------------------------------


if COMPILED:

    @compiled(entry=True)
    def _bits(counters, first_key, second_key, out):
        for i in range(counters.size):
            out[i] = bits(counters[i], first_key, second_key)

    @compiled(entry=True)
    def _keys(seed, step, node, out):
        out[0], out[1] = keys(seed, step, node)

    # There is nothing to keep: the functions are this file's.
    _bits.disable_cache = _keys.disable_cache = None

else:

    def _bits(counters, first_key, second_key, out):
        out[:] = [bits(int(counter), first_key, second_key) for counter in counters]

    def _keys(seed, step, node, out):
        out[:] = keys(seed, step, node)


def drawn(counters, first_key=123, second_key=2**32 - 7):
    out = np.empty(len(counters), dtype=np.int64)
    _bits(np.asarray(counters, dtype=np.int64), first_key, second_key, out)
    return out


def test_bits_are_those_of_the_naive_twin():
    rng = np.random.default_rng(0)
    counters = np.concatenate([np.arange(50), rng.integers(0, 2**32, 300), [2**32 - 1]])
    expected = [naive.random_bits(int(c), 123, 2**32 - 7) for c in counters]
    np.testing.assert_array_equal(drawn(counters), expected)
    out = np.empty(2, dtype=np.int64)
    for seed, step, node in [(0, 0, 0), (SEED, 7, 3), (2**62 - 1, 2**31, 999)]:
        low, high = seed % 2**32, seed // 2**32
        of_step = naive.random_bits(step, low, high)
        _keys(seed, step, node, out)
        assert out.tolist() == [
            naive.random_bits(node, of_step, low), naive.random_bits(node, high, of_step),
        ]  # fmt: skip


def test_bits_are_random_and_no_number_comes_twice():
    """A permutation of 32 bits, whose bits are balanced and do not follow those of the counter."""
    n = 20_000
    counters = np.arange(n)
    here, there = drawn(counters), drawn(counters, 124, 99)
    assert len(np.unique(here)) == n
    neighbours = drawn(counters[::2]) ^ drawn(counters[1::2])
    for numbers in (here, here ^ there, neighbours, here ^ drawn(counters + 4096)):
        for shift in (0, 8, 16, 24):
            counts = np.bincount((numbers >> shift) & 255, minlength=256)
            assert stats.chisquare(counts).pvalue > 1e-5
        ones = (numbers[:, None] >> np.arange(32)) & 1
        assert np.abs(ones.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(len(numbers))


# Whole epochs ---------------------------------------------------------------------------------

EXTRAS = {
    "dropout": {"dropout": True},
    "decay": {"decay": 0.3},
    "clipping": {"clip_norm": 0.2},
    "average": {"average": 0.8},
    "all": {"dropout": True, "decay": 0.3, "clip_norm": 0.2, "average": 0.8},
}


def check(extras, *, dtype=np.float64, sparse=False, optimizer="adam", batch=4, n_rows=23,
          output=None):  # fmt: skip
    """Three epochs by steps of changing rates: all that comes out is the twin's."""
    output = output or with_dropout()
    net, twin, params, X, y, w = problem(output, LOSS, n_rows, dtype=dtype)
    if sparse:
        X = sparse_rows(n_rows, net.n_features, np.random.default_rng(3), dtype)
    told = {name: extras[name] for name in ("clip_norm", "average") if name in extras}
    session = Session(
        net, params, X, y, w, loss=LOSS, optimizer=optimizer, batch_size=batch, alpha=0.1,
        seed=SEED if "dropout" in extras else None, **told,
    )  # fmt: skip
    masks = masks_of(session, twin, SEED) if "dropout" in extras else None
    slots = averaged = None
    step, relative = 0, 1e-11 if dtype == np.float64 else 2e-4
    rng = np.random.default_rng(5)
    for epoch in range(3):
        order, rate = rng.permutation(n_rows), 0.02 / (1 + epoch)
        steps = np.zeros((-(-n_rows // batch), len(STEP_COLUMNS)))
        steps[:] = rate, extras.get("decay", 0.0), 1.0
        actual = session.epoch(order, steps)
        expected, params, slots, step, averaged = naive.train(
            twin, params, X, y, order, loss=LOSS, optimizer=optimizer, learning_rate=rate,
            batch_size=batch, alpha=0.1, sample_weight=w, slots=slots, step=step,
            n_slots=len(session.slots), averaged=averaged, masks=masks,
            decay=extras.get("decay", 0.0), **told,
        )  # fmt: skip
        assert actual == pytest.approx(expected, rel=relative)
        assert_close(session.params, params, relative)
        assert session.step == step
        if "average" in extras:
            mean = averaged / (1 - extras["average"] ** step)
            assert_close(session.averaged, mean, relative)
            np.testing.assert_array_equal(session.outcome, session.averaged)
        else:
            assert session.averaged is None
            np.testing.assert_array_equal(session.outcome, session.params)
    return session


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXTRAS)
def test_an_epoch_is_that_of_the_naive_twin(name, dtype):
    check(EXTRAS[name], dtype=dtype)


@pytest.mark.uncompiled
@pytest.mark.parametrize("sparse", [False, CSR])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch", [1, 7, 23])
def test_all_of_them_at_once(batch, optimizer, sparse):
    check(EXTRAS["all"], sparse=bool(sparse), optimizer=optimizer, batch=batch)


@pytest.mark.uncompiled
def test_a_batch_in_parts_has_the_same_masks(monkeypatch):
    monkeypatch.setattr(session_module, "ROWS_AT_ONCE", 32)
    check(EXTRAS["all"], batch=90, n_rows=200)


def test_of_every_kind_of_parameter():
    """Wide and narrow layers, maxout: each has tasks of its own."""
    check(EXTRAS["all"], output=mlp(5, [40, 3, 33], 2, ["relu", "maxout", "tanh"]), batch=11)


@pytest.mark.uncompiled
def test_the_rate_follows_the_step():
    net, twin, params, X, y, _ = problem(with_dropout(), LOSS, 12)
    session = Session(net, params, X, y, loss=LOSS, batch_size=12, seed=SEED)
    steps = np.array([[0.0, 0.0, 0.5]])
    actual = session.epoch(np.arange(12), steps)
    twin.masks = {
        node: naive.dropout_mask(
            node.numbers["rate"] / 2, SEED, 1, session.plan._index[id(node)], 12, node.width
        )
        for node in twin.nodes
        if node.op == "dropout"
    }
    assert actual == pytest.approx(twin.loss(params, X, y, loss=LOSS), rel=1e-12)


@pytest.mark.uncompiled
def test_gradients_are_those_of_the_masked_network():
    net, twin, params, X, y, w = problem(with_dropout(), LOSS, 9)
    session = Session(net, params, X, y, w, loss=LOSS, optimizer=None, seed=SEED)
    value, gradient = session.gradient()
    twin.masks = masks_of(session, twin, SEED)(1, 9)
    expected, expected_gradient = twin.loss_and_gradient(params, X, y, loss=LOSS, sample_weight=w)
    assert value == pytest.approx(expected, rel=1e-12)
    assert_close(gradient, expected_gradient, 1e-11)
    along = np.random.default_rng(0).standard_normal(params.shape)

    def at(p):
        fresh = Session(net, p, X, y, w, loss=LOSS, optimizer=None, seed=SEED)
        return fresh.gradient()[0]

    slope = finite_differences.directional(at, lambda p: twin.sides(p, X, {}), params, along)
    assert gradient @ along == pytest.approx(slope, rel=1e-6)
    assert session.gradient()[0] != value  # the next step has other masks


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_for_any_number_of_threads(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((900, 70)).astype(dtype), rng.standard_normal((900, 3)).astype(dtype)
    x = g.input(70)
    h = g.dropout(g.relu(g.dense(x, 150)), 0.25)
    net = g.Network(g.dense(g.dropout(g.tanh(g.dense(h, 90)), 0.1), 3))
    params = net.init(0, dtype=dtype)
    results = []
    for n in (1, 2, 3, 5):
        monkeypatch.setattr(threads, "thread_limit", lambda n=n: n)
        session = Session(
            net, params, X, y, loss=LOSS, batch_size=301, seed=SEED, clip_norm=0.5, average=0.9
        )
        assert session._team.size == min(n, session.plan.rows)
        losses = [session.epoch(rng_order, 0.01) for rng_order in (np.arange(900),) * 3]
        results.append((losses, session.params, session.averaged, net.forward(params, X, seed=3)))
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


# Prediction -----------------------------------------------------------------------------------


@pytest.mark.uncompiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_dropped_but_with_a_seed(dtype):
    net, twin, params, X, _, _ = problem(with_dropout(), LOSS, 70, dtype=dtype)
    assert_close(net.forward(params, X), twin.forward(params, X))
    dropped = net.forward(params, X, seed=SEED)
    session = Session(net, params, X, np.zeros((70, 3)), loss=LOSS, seed=SEED)
    twin.masks = masks_of(session, twin, SEED)(0, 70)
    assert_close(dropped, twin.forward(params, X))
    np.testing.assert_array_equal(net.forward(params, X[:1], seed=SEED), dropped[:1])
    assert (net.forward(params, X, seed=1) != dropped).any()


@pytest.mark.uncompiled
def test_the_output_and_kept_nodes_may_be_dropped():
    x = g.input(3, name="x")
    last = g.dropout(g.dense(x, 2, name="a"), 0.5, name="last")
    net, twin = build(last)
    params, X = net.init(0), np.ones((4, 3))
    assert_close(net.forward(params, X), twin.forward(params, X))
    assert_close(net.forward(params, X, node="last"), twin.forward(params, X))
    found = net.gradients(params, X, np.zeros((4, 2)), loss=LOSS, wrt=["last", "a", "x"])
    expected = twin.gradients(
        params, X, np.zeros((4, 2)), loss=LOSS, wrt=[last, last.inputs[0], twin.nodes[0]]
    )
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


# What is asked for wrongly, and what is compiled ----------------------------------------------


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"clip_norm": 0}, "clip_norm must be > 0 and < inf, got 0"),
        ({"clip_norm": np.inf}, "clip_norm must be > 0 and < inf, got inf"),
        ({"average": 1.0}, "average must be >= 0 and < 1, got 1.0"),
        ({"seed": -1}, r"seed must be an integer in \[0, 2 \*\* 62\), got -1"),
    ],
)
def test_a_session_refuses(told, message):
    net = g.Network(mlp(2, [3], 1))
    with pytest.raises(ValueError, match=message):
        Session(net, net.init(0), np.ones((4, 2)), np.ones(4), loss=LOSS, **told)


@pytest.mark.uncompiled
@pytest.mark.parametrize("rate", [-0.1, 1.0, np.nan])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match="rate must be >= 0 and < 1"):
        g.dropout(g.input(2), rate)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_other_values_need_no_other_machine_code():
    net = g.Network(with_dropout())
    X, y = np.ones((8, 5)), np.ones((8, 3))

    def train(**told):
        before = sum(compilations()[:2])
        session = Session(net, net.init(0), X, y, loss=LOSS, batch_size=4, **told)
        session.epoch(np.arange(8), 0.1)
        return sum(compilations()[:2]) - before

    train(clip_norm=0.1, average=0.5, seed=1)
    assert train(clip_norm=1, seed=2) == train(average=0.9, seed=SEED) == 0


@pytest.mark.uncompiled
def test_a_gradient_computed_elsewhere_is_clipped_and_averaged_too():
    net, _, params, X, y, _ = problem(mlp(4, [9], 2), LOSS, 12)
    told = {"loss": LOSS, "optimizer": "adam", "alpha": 0.1, "clip_norm": 0.05, "average": 0.7}
    here = Session(net, params, X, y, **told)
    there = Session(net, params, X, y, **told)
    away = Session(net, params, X, y, loss=LOSS, optimizer=None, alpha=0.1)
    for _ in range(3):
        here.epoch(np.arange(12), 0.01)
        there.apply(away.gradient(there.params)[1], 0.01)
    assert_close(there.params, here.params, 1e-13)
    assert_close(there.averaged, here.averaged, 1e-13)


def test_a_norm_too_large_for_single_precision_is_clipped():
    net = g.Network(g.dense(g.input(1), 1))
    X, y = np.full((1, 1), 1e25, np.float32), np.ones((1, 1), np.float32)
    told = {"loss": "inner_product", "optimizer": "sgd", "momentum": 0.0, "nesterov": False}
    session = Session(net, np.zeros(2, np.float32), X, y, clip_norm=0.5, **told)
    session.epoch(np.arange(1), 2.0)
    np.testing.assert_allclose(session.params, [-1.0, 0.0], atol=1e-6)
