"""Label smoothing, the focal loss, and deviances: against twins, scipy, and scikit-learn's models.

What the contract of the table of losses checks of each of them is in `test_losses`.
"""

import pickle

import numpy as np
import pytest
from scipy import optimize, sparse, stats
from scipy.special import gammaln
from sklearn._loss.loss import HalfBinomialLoss, HalfGammaLoss, HalfTweedieLoss, PinballLoss
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import GammaRegressor, LogisticRegression, TweedieRegressor

import naive
from nbnet import MLPClassifier, MLPRegressor
from nbnet.kernels import threads
from nbnet.kernels.compile.jit import compilations
from nbnet.kernels.losses import LOSSES
from nbnet.training.loop import split_rows
from problems import DTYPES, reader, tiny

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.0, 1.0, (90, 3))
IRIS, SPECIES = load_iris(return_X_y=True)
WEIGHT = np.random.default_rng(1).integers(0, 4, 90).astype(float)
POSITIVE = np.exp(X[:, 0]) * RNG.gamma(2.0, size=90)
COUNTS = RNG.negative_binomial(2, 0.3, 90).astype(float)
LABELS = np.stack([X[:, 0] > 0.2, X[:, 1] > X[:, 2]], axis=1).astype(int)
# as far as SciPy's L-BFGS-B goes: until a loss is the last one but for 2e-9 of it
EXACT = {"solver": "lbfgs", "tol": 1e-10, "max_iter": 10000, "max_fun": 20000, "random_state": 0}


def row_losses_and_gradients(loss, z, y, **settings):
    """Value (N,) and gradient (N, R) at raw outputs, row by row."""
    net, _, output, params = reader(z.shape[1])
    params = params.astype(z.dtype)
    told = {"loss": loss, **settings}
    (gradient,) = net.gradients(params, z, y, wrt=[output], **told)
    rows = np.eye(len(z))
    value = [net.loss_and_gradient(params, z, y, sample_weight=w, **told)[0] for w in rows]
    return np.array(value), gradient * len(z)


# Whole fits against the twin ------------------------------------------------------------------

FITS = {
    "smoothed classes": (MLPClassifier(label_smoothing=0.2), X[:, 0].round().astype(int)),
    "smoothed, pinned": (
        MLPClassifier(loss="pinned_log_loss", label_smoothing=0.2), X[:, 0].round().astype(int),
    ),
    "smoothed, two classes": (MLPClassifier(label_smoothing=0.2), LABELS[:, 0]),
    "smoothed labels": (MLPClassifier(label_smoothing=0.2), LABELS),
    "focal classes": (MLPClassifier(loss="focal"), X[:, 0].round().astype(int)),
    "focal, two classes": (MLPClassifier(loss="focal", focal_gamma=0.7), LABELS[:, 0]),
    "focal labels": (MLPClassifier(loss="focal", focal_gamma=3.0), LABELS),
    "tweedie": (MLPRegressor("tweedie", tweedie_power=1.2), COUNTS),
    "gamma": (MLPRegressor("gamma"), POSITIVE),
    "binomial": (MLPRegressor("binomial"), np.clip(POSITIVE / 9.0, 0.0, 1.0)),
    "negative binomial": (MLPRegressor("negative_binomial"), np.stack([COUNTS, COUNTS[::-1]], 1)),
    "quantiles": (
        MLPRegressor("quantile", quantile=[0.1, 0.5, 0.9]), np.stack([POSITIVE, COUNTS], axis=1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("form", ["dense", "CSR", "float32"])
@pytest.mark.parametrize("case", FITS)
def test_a_fit_is_that_of_the_twin(case, form, solver):
    """Three epochs of weighted rows in small batches."""
    model, y = FITS[case]
    model = type(model)(**model.get_params() | {
        "hidden_layer_sizes": (5,), "activation": "tanh", "solver": solver, "batch_size": 20,
        "learning_rate_init": 0.02, "max_iter": 3, "alpha": 0.1, "random_state": 0,
    })  # fmt: skip
    rows = {"CSR": sparse.csr_array(X), "float32": X.astype(np.float32)}.get(form, X)
    model.fit(rows, y, WEIGHT)

    net, params = model.to_network()
    draws = np.random.RandomState(0)
    start = net.init(draws)
    if LOSSES[model._loss_of_fit].learns_scale:
        for last in (part[-1] for part in net.unpack(start, copy=False)):
            last[..., model.n_outputs_ :] = 0.0
    encoded = np.asarray(y, dtype=float).reshape(90, -1)
    if "softmax" in model._loss_of_fit:
        encoded = np.searchsorted(model.classes_, y)[:, None]
    twin, order = naive.Twin(net.output), np.arange(90)
    slots, step = None, 0
    names = {"adam": {}, "sgd": {"momentum": 0.9, "nesterov": True}}[solver]
    for loss in model.loss_curve_:
        draws.shuffle(order)
        expected, start, slots, step, _ = naive.train(
            twin, start, X, encoded, order, loss=model._loss_of_fit, optimizer=solver,
            learning_rate=0.02, batch_size=20, alpha=0.1, sample_weight=WEIGHT, slots=slots,
            step=step, n_slots={"adam": 2, "sgd": 1}[solver], settings=model._numbers_of_fit,
            **names,
        )  # fmt: skip
        assert loss == pytest.approx(expected, rel=1e-5 if form == "float32" else 1e-10)
    tolerance = 1e-4 if form == "float32" else 1e-9
    np.testing.assert_allclose(params, start, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FITS)
def test_the_same_bits_with_any_number_of_threads(case, dtype, monkeypatch):
    """Of rows enough for several; a block's last vectors may hold rows of others."""
    rng = np.random.default_rng(0)
    model, y = FITS[case]
    rows, y = rng.normal(size=(1501, 90)).astype(dtype), y[rng.integers(0, 90, 1501)]
    model = clone(model).set_params(hidden_layer_sizes=(130, 70), max_iter=2, random_state=0)
    model.set_params(batch_size=701)
    used, run, bits = [], threads.Team._run, []

    def spy(team, kernel, args, n, short):
        used.append(n)
        return run(team, kernel, args, n, short)

    monkeypatch.setattr(threads.Team, "_run", spy)
    for n_threads in (1, 3):
        monkeypatch.setattr(threads, "thread_limit", lambda n=n_threads: n)
        model.fit(rows, y)
        arrays = [*model.coefs_, *model.intercepts_, model.predict(rows)]
        bits.append([model.loss_curve_, *(array.tobytes() for array in arrays)])
    assert bits[0] == bits[1]
    assert set(used) == {1, 3}


@pytest.mark.parametrize("case", FITS)
def test_an_estimator_of_each(case):
    """Early stopping, pickles, clones, and a warm start or partial_fit that goes on."""
    model, y = FITS[case]
    model = clone(model).set_params(hidden_layer_sizes=5, random_state=0, max_iter=6)
    model.set_params(early_stopping=True).fit(X, y)
    assert model.best_validation_score_ == max(model.validation_scores_)
    expected = model.predict(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), expected)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X), expected)
    model.set_params(early_stopping=False)
    whole = clone(model).fit(X, y)
    parts = clone(model)
    classes = {"classes": np.unique(y)} if isinstance(model, MLPClassifier) else {}
    if y.ndim == 2 and classes:
        classes = {"classes": np.arange(y.shape[1])}
    for _ in range(6):
        parts.partial_fit(X, y, **classes)
        classes = {}
    assert parts.loss_curve_[0] == whole.loss_curve_[0]
    # a partial_fit's only epoch draws its permutation from the seed again
    assert parts.loss_ < parts.loss_curve_[0]
    warm = clone(model).set_params(warm_start=True).fit(X, y)
    assert warm.fit(X, y).loss_ < warm.loss_curve_[0]
    assert len(warm.loss_curve_) == 12


def test_other_numbers_compile_nothing():
    def fit(**settings):
        MLPClassifier(max_iter=2, **settings).fit(IRIS, SPECIES).predict_proba(IRIS)

    fit(label_smoothing=0.1)
    before = compilations().compiled
    fit(label_smoothing=0.2)
    fit(loss="focal", focal_gamma=1.0)
    fit(loss="focal", focal_gamma=0.0)
    for power in (1.2, 1.8):
        MLPRegressor("tweedie", tweedie_power=power, max_iter=2).fit(IRIS, SPECIES)
    assert compilations().compiled == before


# Label smoothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["log_loss", "pinned_log_loss"])
@pytest.mark.parametrize("y", [SPECIES, SPECIES > 0, np.eye(3, dtype=int)[SPECIES]])
def test_no_smoothing_is_no_other_loss(loss, y):
    options = {"max_iter": 5, "random_state": 0, "loss": loss}
    plain, none = (MLPClassifier(**options, **e).fit(IRIS, y) for e in ({}, {"label_smoothing": 0}))
    assert plain._loss_of_fit == none._loss_of_fit
    assert LOSSES[plain._loss_of_fit].plain
    for a, b in zip(plain.coefs_, none.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", ["log_loss", "pinned_log_loss"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_smoothed_frequencies(n_classes, loss):
    """Of a model that can tell all inputs apart; `loss_` is the cross-entropy with them."""
    counts = np.random.default_rng(0).integers(1, 9, (4, n_classes))
    inputs, labels = (
        np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape)
    )
    model = MLPClassifier((), loss=loss, label_smoothing=0.3, alpha=0.0, **EXACT)
    probabilities = model.fit(np.eye(4)[inputs], labels).predict_proba(np.eye(4))
    expected = 0.7 * counts / counts.sum(axis=1, keepdims=True) + 0.3 / n_classes
    np.testing.assert_allclose(probabilities, expected, atol=2e-4)
    entropy = -np.average((expected * np.log(expected)).sum(axis=1), weights=counts.sum(axis=1))
    assert model.loss_ == pytest.approx(entropy, rel=1e-6)


def test_labels_that_may_be_together_are_smoothed_each():
    model = MLPClassifier((), label_smoothing=0.2, alpha=0.0, **EXACT)
    probabilities = model.fit(np.zeros((90, 1)), LABELS).predict_proba(np.zeros((1, 1)))
    np.testing.assert_allclose(probabilities[0], 0.8 * LABELS.mean(axis=0) + 0.1, atol=1e-4)


def test_validation_scores_count_the_labels_as_they_are():
    options = {"early_stopping": True, "random_state": 0, "max_iter": 60}
    model = MLPClassifier(label_smoothing=0.5, learning_rate_init=0.01, **options)
    model.fit(IRIS, SPECIES)
    draws = np.random.RandomState(0)
    model.to_network()[0].init(draws)
    _, held_out = split_rows(150, 0.1, draws)
    assert model.best_validation_score_ == model.score(IRIS[held_out], SPECIES[held_out]) > 0.9
    assert model.predict_proba(IRIS).max() < 0.9  # the targets are 2 / 3


@pytest.mark.parametrize("value", [-0.1, 1.0, True, "some"])
def test_smoothing_that_is_none(value):
    with pytest.raises(ValueError, match="'label_smoothing' parameter of MLPClassifier"):
        MLPClassifier(label_smoothing=value).fit(IRIS, SPECIES)


# Focal loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [SPECIES, SPECIES > 0, np.eye(3, dtype=int)[SPECIES]])
def test_a_focal_loss_of_0_is_the_log_loss(y):
    options = {"max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}
    focal = MLPClassifier(loss="focal", focal_gamma=0.0, **options).fit(IRIS, y)
    plain = MLPClassifier(**options).fit(IRIS, y)
    np.testing.assert_allclose(focal.loss_curve_, plain.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(focal.predict_proba(IRIS), plain.predict_proba(IRIS), rtol=1e-7)
    np.testing.assert_allclose(
        focal.predict_log_proba(IRIS), plain.predict_log_proba(IRIS), rtol=1e-6, atol=1e-9
    )
    assert focal.out_activation_ == plain.out_activation_


@pytest.mark.parametrize("y", [SPECIES, SPECIES > 0, np.eye(3, dtype=int)[SPECIES]])
def test_the_focal_loss_is_computed_from_what_is_predicted(y):
    """By its formula. (Lin et al., 2017, equation 4.)"""
    model = MLPClassifier(loss="focal", focal_gamma=1.5, alpha=0.0, solver="lbfgs", max_iter=8)
    model.fit(IRIS, y)
    p = model.predict_proba(IRIS)
    if y.ndim == 2:
        p = np.where(y == 1, p, 1.0 - p)
    else:
        p = np.take_along_axis(p, y.astype(int)[:, None], axis=1)
    expected = ((1.0 - p) ** 1.5 * -np.log(p)).sum(axis=1).mean()
    assert model.loss_ == pytest.approx(expected, rel=1e-9)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("focal_gamma", [0.0, 0.5, 2.0, 5.0])
def test_two_classes_are_the_sigmoid_of_the_difference(focal_gamma, dtype):
    rng = np.random.default_rng(0)
    z = (rng.integers(-80, 80, (30, 2)) / 8.0).astype(dtype)
    y = rng.integers(0, 2, (30, 1)).astype(dtype)
    told = {"focal_gamma": focal_gamma}
    value, gradient = row_losses_and_gradients("softmax_focal", z, y, **told)
    one, of_one = row_losses_and_gradients("sigmoid_focal", z[:, 1:] - z[:, :1], y, **told)
    tolerance = {np.float64: 1e-13, np.float32: 5e-6}[dtype]
    np.testing.assert_allclose(value, one, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        gradient, np.hstack([-of_one, of_one]), rtol=tolerance, atol=tolerance
    )


# Deviances ------------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("loss", "settings", "theirs"),
    [
        ("half_tweedie_deviance", {"tweedie_power": 1.1}, HalfTweedieLoss(power=1.1)),
        ("half_tweedie_deviance", {"tweedie_power": 1.7}, HalfTweedieLoss(power=1.7)),
        ("half_gamma_deviance", {}, HalfGammaLoss()),
        ("half_binomial_deviance", {}, HalfBinomialLoss()),
        ("quantile", {"quantile": 0.3}, PinballLoss(quantile=0.3)),
    ],
)
def test_value_and_gradient_are_scikit_learns(loss, settings, theirs, dtype):
    """Whose values leave constants out."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-3.0, 3.0, (40, 1)).astype(dtype)
    y = rng.uniform(0.05, 0.95, (40, 1)).astype(dtype)
    value, gradient = row_losses_and_gradients(loss, z, y, **settings)
    raw, target = z[:, 0].astype(np.float64), y[:, 0].astype(np.float64)
    expected, of_expected = theirs.loss_gradient(target, raw)
    expected = expected + theirs.constant_to_optimal_zero(target)
    tolerance = {np.float64: 1e-12, np.float32: 2e-6}[dtype]
    np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient[:, 0], of_expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(
    ("ours", "theirs", "y"),
    [
        (
            {"loss": "tweedie", "tweedie_power": 1.5},
            TweedieRegressor(power=1.5, link="log"),
            np.where(COUNTS > 2, POSITIVE, 0.0),
        ),
        (
            {"loss": "tweedie", "tweedie_power": 1.1},
            TweedieRegressor(power=1.1, link="log"),
            COUNTS,
        ),
        ({"loss": "gamma"}, GammaRegressor(), POSITIVE),
    ],
)
def test_without_hidden_layers_it_is_the_linear_model(ours, theirs, y, weight, alpha):
    """Whose penalty is not divided by the sum of the weights."""
    theirs.set_params(alpha=alpha, tol=1e-10, max_iter=10000, solver="newton-cholesky")
    theirs.fit(X, y, sample_weight=weight)
    total = 90.0 if weight is None else weight.sum()
    model = MLPRegressor(hidden_layer_sizes=(), alpha=alpha * total, **ours, **EXACT)
    model.fit(X, y, weight)
    np.testing.assert_allclose(model.coefs_[0][:, 0], theirs.coef_, atol=3e-4)
    np.testing.assert_allclose(model.intercepts_[0][0], theirs.intercept_, atol=3e-4)
    np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-3)
    # theirs, found by Newton's method, leaves nothing of our gradient
    net, _ = model.to_network()
    best = net.pack([theirs.coef_[:, None]], [np.array([theirs.intercept_])])
    value, gradient = net.loss_and_gradient(
        best, X, y, loss=model._loss_of_fit, alpha=alpha * total, sample_weight=weight,
        **model._numbers_of_fit,
    )  # fmt: skip
    np.testing.assert_allclose(gradient, np.zeros(4), atol=1e-8)
    assert value <= model.loss_ <= value * (1.0 + 1e-6)


def test_shares_with_numbers_of_trials_are_a_logistic_regression_of_the_trials():
    rng = np.random.default_rng(0)
    trials = rng.integers(1, 9, 90)
    successes = rng.binomial(trials, 1.0 / (1.0 + np.exp(-2.0 * X[:, 0])))
    model = MLPRegressor("binomial", (), alpha=1.0, **EXACT).fit(X, successes / trials, trials)
    each = np.repeat(np.arange(90), trials)
    outcome = np.concatenate([np.arange(n) < k for n, k in zip(trials, successes, strict=True)])
    logistic = LogisticRegression(C=1.0, tol=1e-10, max_iter=10000).fit(X[each], outcome)
    np.testing.assert_allclose(model.coefs_[0][:, 0], logistic.coef_[0], atol=3e-4)
    np.testing.assert_allclose(model.predict(X), logistic.predict_proba(X)[:, 1], rtol=1e-3)
    assert model.out_activation_ == "logistic"


def test_a_negative_binomial_is_the_most_likely_one_by_scipy():
    """Mean and dispersion log-linear in the features; standard deviations are theirs."""

    def cost(parameters):
        mean = np.exp(X @ parameters[:3] + parameters[3])
        size = np.exp(-X @ parameters[4:7] - parameters[7])
        return -stats.nbinom.logpmf(COUNTS, size, size / (size + mean)).mean()

    model = MLPRegressor("negative_binomial", (), alpha=0.0, **EXACT).fit(X, COUNTS)
    mean, std = model.predict(X, return_std=True)
    learned = np.vstack([model.coefs_[0], model.intercepts_[0]]).T.ravel()
    assert model.loss_ == pytest.approx(cost(learned), rel=1e-10)
    best = optimize.minimize(cost, np.zeros(8), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(learned, best.x, atol=1e-3)
    assert model.loss_ <= best.fun + 1e-9
    size = np.exp(-X @ learned[4:7] - learned[7])
    expected = stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(mean, expected.mean(), rtol=1e-9)
    np.testing.assert_allclose(std, expected.std(), rtol=1e-9)
    _, cov = model.predict(X, return_cov=True)
    np.testing.assert_allclose(cov[:, 0, 0], std**2, rtol=1e-12)
    assert model.out_activation_ == "exp"


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("a", [-90.0, -59.0, -40.0, -12.0, -2.1, -2.0, 0.0, 3.0, 80.0])
def test_counts_of_any_dispersion(a, dtype):
    """Gamma(y + r) / Gamma(r) is r (r + 1) ... (r + y - 1): no Gamma is left for whole numbers."""
    y = np.array([0.0, 1.0, 2.0, 3.0, 7.0, 8.0, 9.0, 20.0, 300.0], dtype=dtype)[:, None]
    z = np.repeat(np.array([[0.5, a]], dtype=dtype), len(y), axis=0)
    value, gradient = row_losses_and_gradients("negative_binomial", z, y)
    a = np.float64(z[0, 1])
    r, ratio = np.exp(-a), np.exp(0.5 + a)  # ratio: mean over r
    mean = np.exp(0.5)
    tolerance = {np.float64: 1e-13, np.float32: 1e-6}[dtype]
    for i, n in enumerate(y[:, 0].astype(int)):
        k = np.arange(n)
        expected = gammaln(n + 1.0) - np.log1p(k / r).sum() + (r + n) * np.log1p(ratio) - n * 0.5
        size = max(abs(expected), n, n * a, 1.0)
        assert value[i] == pytest.approx(expected, abs=tolerance * size)
        by_mean = (mean - n) / (1.0 + ratio)
        # the derivative of r log(1 + mean / r), of which nothing is left where r is large
        if ratio < 1e-9:
            spread = mean * ratio / 2.0
        else:
            spread = r * (np.log1p(ratio) - ratio / (1.0 + ratio))
        by_a = n * ratio / (1.0 + ratio) - (k / (r + k)).sum() - spread
        size = max(n, 1.0)
        np.testing.assert_allclose(gradient[i], [by_mean, by_a], rtol=0.0, atol=tolerance * size)


@tiny
@pytest.mark.parametrize("dtype", DTYPES)
def test_raw_outputs_beyond_all_counts(dtype):
    """Without dispersion it is Poisson's; with any, zeros cost nothing, and others log y + a."""
    y = np.array([[0.0], [3.0]], dtype=dtype)
    z = np.tile(np.array([0.5, -1e4], dtype=dtype), (2, 1))
    value, gradient = row_losses_and_gradients("negative_binomial", z, y)
    poisson, of_poisson = row_losses_and_gradients("half_poisson_deviance", z[:, :1], y)
    constant = np.array([0.0, np.log(6.0) - 3.0 * np.log(3.0) + 3.0])
    np.testing.assert_allclose(
        value, poisson + constant, rtol=1e-6 if dtype is np.float32 else 1e-13
    )
    np.testing.assert_allclose(gradient, np.hstack([of_poisson, 0.0 * of_poisson]), atol=1e-6)
    for mean in (-1e4, 0.5, 1e4):
        z = np.tile(np.array([mean, 1.2e4], dtype=dtype), (2, 1))
        value, gradient = row_losses_and_gradients("negative_binomial", z, y)
        # where the mean over r is large
        np.testing.assert_allclose(value, [0.0, np.log(3.0) + 1.2e4], rtol=1e-6, atol=1e-14)
        np.testing.assert_allclose(gradient, [[0.0, 0.0], [0.0, 1.0]], atol=1e-6)


# What y may be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "wrong", "needed"),
    [
        ("tweedie", -0.1, "needs 0 <= y <= inf; got y from -0.1 to 1"),
        ("gamma", 0.0, "needs 0 < y <= inf; got y from 0 to 1"),
        ("gamma", -1.0, "needs 0 < y <= inf; got y from -1 to 1"),
        ("binomial", -0.1, "needs 0 <= y <= 1; got y from -0.1 to 1"),
        ("binomial", 1.1, "needs 0 <= y <= 1; got y from 1 to 1.1"),
        ("negative_binomial", -1.0, "needs 0 <= y <= inf; got y from -1 to 1"),
    ],
)
def test_targets_outside_the_range_are_named(loss, wrong, needed):
    y = np.ones(90)
    model = MLPRegressor(loss, max_iter=2).fit(X, y)
    before = model.coefs_
    y[3] = wrong
    with pytest.raises(ValueError, match=f"loss='{loss}' {needed}"):
        model.fit(X, y)
    assert model.coefs_ is before


def test_a_target_that_float32_rounds_out_of_the_range():
    y = np.ones(90)
    y[3] = 1e-60
    MLPRegressor("gamma", max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="loss='gamma' needs y > 0; y has values too small for"):
        MLPRegressor("gamma", max_iter=2).fit(X.astype(np.float32), y)
    net, _, _, params = reader(3)
    with pytest.raises(ValueError, match="y must be > 0 in float32 for loss='half_gamma_deviance'"):
        net.loss_and_gradient(
            params.astype(np.float32), X, np.stack([y] * 3, axis=1), loss="half_gamma_deviance"
        )


@pytest.mark.parametrize("value", [1.0, 2.0, 0.0, True])
def test_powers_that_are_refused(value):
    with pytest.raises(ValueError, match="'tweedie_power' parameter of MLPRegressor"):
        MLPRegressor("tweedie", tweedie_power=value).fit(X, COUNTS)
