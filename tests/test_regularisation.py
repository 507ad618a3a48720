"""Estimators: dropout, weight decay, clipping, averaged weights, schedules with an end."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

import naive
from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.kernels.records import STEP_COLUMNS
from problems import build

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_diabetes(return_X_y=True)
X, Y = scale(X), scale(Y)
IRIS = load_iris(return_X_y=True)
EXTRAS = {
    "dropout": (0.3, 0.1),
    "weight_decay": 0.2,
    "clip_norm": 0.4,
    "average": 0.9,
    "learning_rate": "cosine",
    "warmup_fraction": 0.25,
}
STOCHASTIC = ("dropout", "weight_decay", "clip_norm", "average", "warmup_fraction")


def square(share):
    return (1 - share) ** 2


def quick(**told):
    told = {"hidden_layer_sizes": (12, 7), "max_iter": 3, "random_state": 0, **told}
    return MLPRegressor(**({"learning_rate_init": 0.01, "batch_size": 100} | told))


def by_hand(model, X, y, weight=None):
    """The naive twin of a whole fit: its weights and the loss of each epoch."""
    net, twin = build(model.to_network()[0].output)
    rng = np.random.RandomState(0)
    params = net.init(rng)
    has_dropout = any(node.op == "dropout" for node in twin.nodes)
    seed = int(rng.randint(2**62, dtype=np.int64)) if has_dropout else None
    plan = net.plan(np.float64, 100, noise=True)

    def masks(step, n_rows):
        return {
            node: naive.dropout_mask(
                node.numbers["rate"], seed, step, plan._index[id(node)], n_rows, node.width
            )
            for node in twin.nodes
            if node.op == "dropout"
        }

    rows, curve = np.arange(len(X)), []
    slots, averaged, step = None, None, 0
    batches = range(0, len(X), model.batch_size)
    total = model.max_iter * len(batches)
    for _ in range(model.max_iter):
        rng.shuffle(rows)
        loss = 0.0
        for start in batches:
            batch, share = rows[start : start + model.batch_size], step / total
            factor = {"constant": 1.0, "cosine": np.cos(np.pi * share / 2) ** 2}
            rate = model.learning_rate_init * (
                factor[model.learning_rate]
                if isinstance(model.learning_rate, str)
                else model.learning_rate(share)
            )
            if model.warmup_fraction:
                rate *= min((step + 1) / (total * model.warmup_fraction), 1.0)
            value, params, slots, step, averaged = naive.train(
                twin, params, X, y, batch, loss="half_squared_error", optimizer=model.solver,
                learning_rate=rate, batch_size=model.batch_size, alpha=model.alpha, slots=slots,
                sample_weight=weight, step=step, n_slots={"sgd": 1, "adam": 2}[model.solver],
                decay=model.weight_decay, clip_norm=model.clip_norm or np.inf,
                average=model.average, averaged=averaged, masks=masks if has_dropout else None,
            )  # fmt: skip
            loss += value * len(batch)
        curve.append(loss / len(X))
    if model.average:
        params = averaged / (1 - model.average**step)
    return params, curve


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize(
    "told",
    [*({name: value} for name, value in EXTRAS.items()), EXTRAS, {"learning_rate": square}],
    ids=[*EXTRAS, "all", "function"],
)
def test_a_whole_fit_is_the_twins(told, solver):
    model = quick(solver=solver, **told).fit(X, Y)
    params, curve = by_hand(model, X, Y)
    assert_allclose(model.to_network()[1], params, rtol=1e-9, atol=1e-11)
    assert_allclose(model.loss_curve_, curve, rtol=1e-10)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_with_weights_and_several_targets(form, n_targets):
    rng = np.random.default_rng(0)
    y = np.column_stack([Y, *rng.standard_normal((n_targets - 1, len(Y)))])
    weight = rng.integers(0, 3, len(Y)).astype(float)
    model = quick(**EXTRAS).fit(form(X), y if n_targets > 1 else Y, weight)
    params, curve = by_hand(model, X, y, weight)
    assert_allclose(model.to_network()[1], params, rtol=1e-9, atol=1e-11)
    assert_allclose(model.loss_curve_, curve, rtol=1e-10)


def test_in_single_precision():
    double = quick(**EXTRAS).fit(X, Y)
    single = quick(**EXTRAS).fit(X.astype(np.float32), Y)
    assert single.coefs_[0].dtype == np.float32
    # 4e-7 over ten seeds: three epochs amplify rounding little
    assert_allclose(single.coefs_[0], double.coefs_[0], atol=2e-5)


def test_learning_rates_are_recorded():
    model = quick(learning_rate="linear", max_iter=4).fit(X, Y)
    assert_allclose(model.learning_rates_, [0.01, 0.0075, 0.005, 0.0025], rtol=1e-12)
    assert model.set_params(warm_start=True).fit(X, Y).learning_rates_ == [
        *model.learning_rates_[:4], *model.learning_rates_[:4],
    ]  # fmt: skip
    assert len(model.learning_rates_) == len(model.loss_curve_) == 8
    assert not hasattr(model.set_params(solver="lbfgs", learning_rate="constant").fit(X, Y),
                       "learning_rates_")  # fmt: skip


@pytest.mark.parametrize("schedule", ["constant", "invscaling", "adaptive"])
def test_schedules_of_scikit_learn_are_for_sgd_alone(schedule):
    rates = quick(learning_rate=schedule).fit(X, Y).learning_rates_
    assert rates == [0.01] * 3
    told = {"learning_rate": schedule, "tol": 10, "n_iter_no_change": 1, "max_iter": 5}
    rates = quick(solver="sgd", **told).fit(X, Y).learning_rates_
    assert (rates == [0.01] * len(rates)) == (schedule == "constant")


# Averages -------------------------------------------------------------------------------------


def test_early_stopping_scores_the_average():
    told = {"early_stopping": True, "average": 0.95, "max_iter": 15}
    model = quick(**told).fit(X, Y)
    plain = quick(**told | {"average": 0.0}).fit(X, Y)
    epochs = min(model.n_iter_, plain.n_iter_)
    assert model.loss_curve_[:epochs] == plain.loss_curve_[:epochs]
    assert model.validation_scores_ != plain.validation_scores_
    best = int(np.argmax(model.validation_scores_)) + 1
    until = quick(**told | {"max_iter": best}).fit(X, Y)
    assert_array_equal(until.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("again", [lambda m: m, lambda m: pickle.loads(pickle.dumps(m))])
def test_partial_fit_goes_on_from_what_the_average_is_of(again):
    told = {"shuffle": False, "average": 0.9, "clip_norm": 1.0, "weight_decay": 0.1}
    whole, part = quick(**told).fit(X, Y), quick(**told)
    for _ in range(3):
        part = again(part.partial_fit(X, Y))
    for one, other in zip(part.coefs_, whole.coefs_, strict=True):
        assert_array_equal(one, other)
    assert part.loss_curve_ == whole.loss_curve_


def test_weights_set_by_hand_are_what_partial_fit_goes_on_from():
    told = {"shuffle": False, "average": 0.9, "solver": "sgd", "momentum": 0.0}
    model = quick(**told).partial_fit(X, Y)
    model.coefs_ = [np.zeros_like(c) for c in model.coefs_]
    model.intercepts_ = [np.zeros_like(b) for b in model.intercepts_]
    model.partial_fit(X, Y)
    assert np.abs(model.coefs_[0]).max() == 0.0  # no gradient reaches it through zeros


# Dropout and prediction -----------------------------------------------------------------------


def test_prediction_drops_nothing():
    model = quick(dropout=0.5).fit(X, Y)
    net, params = model.to_network()
    plain = g.Network(g.mlp(10, [("relu", 12), ("relu", 7)], 1))
    assert_array_equal(model.predict(X), plain.forward(params, X)[:, 0])
    assert_array_equal(model.transform(X), net.forward(params, X, node="h2"))
    assert model.transform(X, layer=0).shape == (len(X), 12)
    with pytest.raises(ValueError, match="layer must lie between -2 and 1"):
        model.transform(X, layer=2)


@pytest.mark.parametrize("loss", ["squared_error", "gaussian", "laplace"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_monte_carlo_dropout(loss, n_targets):
    y = np.column_stack([Y, Y[::-1]])[:, :n_targets]
    model = quick(loss=loss, dropout=0.2).fit(X, y.squeeze())
    net, params = model.to_network()
    seeds = np.random.RandomState(0).randint(2**62, size=20, dtype=np.int64)
    key = {"squared_error": "half_squared_error"}.get(loss, loss)
    outputs = np.array([net.forward(params, X, key, seed=int(seed)) for seed in seeds])
    means = outputs[:, :, :n_targets]
    noise = np.zeros(means.shape[1:])
    if loss != "squared_error":
        noise = (outputs[:, :, n_targets:] ** 2).mean(axis=0) * {"laplace": 2}.get(loss, 1)
    mean, std = model.predict(X, return_std=True, n_samples=20)
    assert_allclose(mean, means.mean(axis=0).squeeze(), rtol=1e-9, atol=1e-12)
    expected = np.sqrt(means.var(axis=0) + noise)
    assert_allclose(std, expected.squeeze(), rtol=1e-9)
    _, cov = model.predict(X, return_cov=True, n_samples=20)
    assert cov.shape == (len(X), n_targets, n_targets)
    assert_allclose(np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), expected, rtol=1e-9)
    if n_targets == 2:
        joint = np.mean([np.prod(m - means.mean(axis=0), axis=1) for m in means], axis=0)
        assert_allclose(cov[:, 0, 1], joint, rtol=1e-6, atol=1e-12)
    assert_array_equal(model.predict(X, n_samples=20), mean)


@pytest.mark.parametrize("classes", [2, 3])
def test_monte_carlo_probabilities(classes):
    rows = IRIS[1] < classes
    features, labels = IRIS[0][rows], IRIS[1][rows]
    model = MLPClassifier((9,), dropout=0.3, max_iter=20, random_state=0).fit(features, labels)
    mean, std = model.predict_proba(features, n_samples=15, return_std=True)
    net, params = model.to_network()
    seeds = np.random.RandomState(0).randint(2**62, size=15, dtype=np.int64)
    loss = {2: "sigmoid_cross_entropy", 3: "softmax_cross_entropy"}[classes]
    each = np.array([net.forward(params, features, loss, seed=int(seed)) for seed in seeds])
    if classes == 2:
        each = np.concatenate([1 - each, each], axis=2)
    assert_allclose(mean, each.mean(axis=0), rtol=1e-9)
    assert_allclose(std, each.std(axis=0), rtol=1e-6, atol=1e-9)
    assert_array_equal(model.predict(features, n_samples=15), mean.argmax(axis=1))
    assert_array_equal(model.predict_proba(features, n_samples=15), mean)
    assert (model.predict_proba(features) != mean).any()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"n_samples": 5}, r"n_samples=5 needs a model with dropout.*dropout=0.0"),
        ({"n_samples": 0}, "n_samples must be an integer >= 1 or None, got 0"),
        ({"n_samples": 2.5}, "n_samples must be an integer >= 1 or None, got 2.5"),
    ],
)
def test_samples_need_dropout(told, message):
    model = quick().fit(X, Y)
    with pytest.raises(ValueError, match=message):
        model.predict(X, **told)
    classifier = MLPClassifier(max_iter=2).fit(*IRIS)
    with pytest.raises(ValueError, match=message):
        classifier.predict_proba(IRIS[0], **told)
    with pytest.raises(ValueError, match="return_std=True needs n_samples"):
        classifier.predict_proba(IRIS[0], return_std=True)


def body(x):
    return g.dropout(g.relu(g.dense(g.dropout(x, 0.1), 8, name="z")), 0.4)


def test_an_architecture_may_drop():
    model = quick(architecture=body, hidden_layer_sizes=(100,)).fit(X, Y)
    params, curve = by_hand(model, X, Y)
    assert_allclose(model.to_network()[1], params, rtol=1e-9, atol=1e-11)
    assert_allclose(model.loss_curve_, curve, rtol=1e-10)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert model.predict(X, return_std=True, n_samples=3)[1].shape == Y.shape


# Parameters -----------------------------------------------------------------------------------


def test_defaults_change_nothing():
    assert quick(dropout=[0.0, 0], clip_norm=1e30).fit(X, Y).loss_curve_ == pytest.approx(
        quick().fit(X, Y).loss_curve_, rel=1e-12
    )
    assert clone(quick(**EXTRAS)).get_params() == quick(**EXTRAS).get_params()


@pytest.mark.parametrize("name", [*STOCHASTIC, "learning_rate"])
def test_lbfgs_says_what_it_does_not_do(name):
    with pytest.warns(UserWarning, match=f"{name}=.* has no effect beside solver='lbfgs'"):
        quick(solver="lbfgs", **{name: EXTRAS[name]}).fit(X, Y)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"dropout": True}, "'dropout' parameter"),
        ({"dropout": [0.1]}, r"dropout=\[0.1\] has length 1 for 2 hidden layers"),
        ({"dropout": [0.1, 1.0]}, r"dropout=\[0.1, 1.0\] holds 1.0"),
        ({"dropout": [0.1, "a"]}, r"dropout=\[0.1, 'a'\] holds 'a'"),
        ({"weight_decay": -1}, "'weight_decay' parameter"),
        ({"clip_norm": 0}, "'clip_norm' parameter"),
        ({"average": 1.0}, "'average' parameter"),
        ({"warmup_fraction": 1.0}, "'warmup_fraction' parameter"),
        ({"learning_rate": "cosin"}, "'learning_rate' parameter"),
        ({"learning_rate": lambda share: -1.0}, "learning_rate must return a factor >= 0"),
    ],
)
def test_what_is_wrong_is_named(told, message):
    model = quick().fit(X, Y)
    before = model.coefs_
    with pytest.raises(ValueError, match=message):
        model.set_params(**told).fit(X, Y)
    assert model.coefs_ is before


@pytest.mark.parametrize("told", [{"learning_rate": "cosine"}, {"learning_rate": square},
                                  {"warmup_fraction": 0.1}])  # fmt: skip
def test_partial_fit_knows_no_end(told):
    model = quick(**told)
    with pytest.raises(ValueError, match=f"{next(iter(told))}=.* partial_fit does not know"):
        model.partial_fit(X, Y)
    model.fit(X, Y).set_params(learning_rate="constant", warmup_fraction=0.0).partial_fit(X, Y)
    assert model.learning_rates_[-1] == 0.01


def test_beside_an_architecture_dropout_warns():
    with pytest.warns(UserWarning, match="dropout=0.2 has no effect beside architecture="):
        quick(architecture=body, dropout=0.2, hidden_layer_sizes=(100,)).fit(X, Y)


def test_other_steps_have_what_they_need():
    assert STEP_COLUMNS == ("learning_rate", "decay", "dropout")


# Other libraries ------------------------------------------------------------------------------


def test_adamw_clipping_and_one_cycle_are_pytorchs():
    torch = pytest.importorskip("torch")
    model = quick(
        weight_decay=0.2, clip_norm=0.4, learning_rate="one_cycle", shuffle=False, alpha=0.0,
        epsilon=1e-13, max_iter=4,
    )  # fmt: skip
    start = quick(shuffle=False, learning_rate_init=1e-300, max_iter=1).fit(X, Y)
    model.fit(X, Y)
    layers = []
    for W, b in zip(start.coefs_, start.intercepts_, strict=True):
        layer = torch.nn.Linear(*W.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(W.T.copy()), torch.tensor(b)
        layers += [layer, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    weights = [layer.weight for layer in layers[::2]]
    biases = [layer.bias for layer in layers[::2]]
    groups = [{"params": weights, "weight_decay": 0.2}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, eps=1e-13)
    n_batches = -(-len(X) // 100)
    # PyTorch's last update has the lowest rate, ours is one step before it.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=4 * n_batches + 1, cycle_momentum=False,
        pct_start=(0.3 * 4 * n_batches + 1) / (4 * n_batches + 1),
    )  # fmt: skip
    for _ in range(4):
        for i in range(0, len(X), 100):
            optimizer.zero_grad()
            error = net(torch.tensor(X[i : i + 100]))[:, 0] - torch.tensor(Y[i : i + 100])
            (error**2 / 2).mean().backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.4, error_if_nonfinite=True)
            optimizer.step()
            schedule.step()
    for W, layer in zip(model.coefs_, layers[::2], strict=True):
        assert_allclose(W, layer.weight.detach().numpy().T, rtol=1e-4, atol=1e-6)


def test_the_average_is_optaxs():
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        ema = optax.ema(0.9, debias=True)
        told = {"shuffle": False, "batch_size": 1000}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            steps = [quick(max_iter=i, **told).fit(X, Y).coefs_[0] for i in range(1, 5)]
            expected = quick(max_iter=4, average=0.9, **told).fit(X, Y).coefs_[0]
        state = ema.init(steps[0])
        for step in steps:
            mean, state = ema.update(step, state)
        assert_allclose(expected, np.asarray(mean), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_schedules_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    schedule = {
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6),
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 6),
    }[name]()
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    model = quick(max_iter=6, learning_rate=name, batch_size=len(X)).fit(X, Y)
    assert_allclose(model.learning_rates_, rates, rtol=1e-9)


def test_warnings_are_the_usual_ones():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        quick(**EXTRAS).fit(X, Y)
