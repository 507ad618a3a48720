"""Callbacks: what they are told, what they may do, and that they change nothing else."""

import json
import pickle
import types

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbnet import MLPClassifier, MLPRegressor
from nbnet.callbacks import Callback, EarlyStopping, Epoch, LearningCurve, OptunaPruning
from nbnet.training.state import FitState

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
X = X - X.mean(axis=0)
Y = X[:, :2] ** 2
SOLVERS = ("adam", "sgd", "lbfgs")


def classifier(solver="adam", **parameters):
    return MLPClassifier(
        5, **{"solver": solver, "max_iter": 6, "random_state": 0, "tol": 0.0} | parameters
    )


class Log(Callback):
    """Writes down each call."""

    def __init__(self):
        self.calls = []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.calls.append(("end", context.task_name, context.task_id))


class Snapshots(Callback):
    """Keeps all that a hook may ask for."""

    def __init__(self):
        self.begun, self.ended = [], []

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator=None):
        self.begun.append(fitted_estimator)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.ended.append((context.epoch, X, y, metadata, fitted_estimator))


class Raising(Callback):
    """Raises in one of its methods."""

    def __init__(self, method, error=ZeroDivisionError, epoch=2):
        self.error = error
        self.epoch = epoch
        self.torn_down = 0
        setattr(self, f"in_{method}", True)

    def raise_in(self, method):
        if getattr(self, f"in_{method}", False):
            raise self.error(method)

    def setup(self, estimator, context):
        self.raise_in("setup")

    def teardown(self, estimator, context):
        self.torn_down += 1
        self.raise_in("teardown")

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "fit" or context.task_id == self.epoch - 1:
            self.raise_in(f"begin_of_{context.task_name}")

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "fit" or context.task_id == self.epoch - 1:
            self.raise_in(f"end_of_{context.task_name}")


METHODS = (
    "setup", "begin_of_fit", "begin_of_epoch", "end_of_epoch", "end_of_fit", "teardown",
)  # fmt: skip


def same(a, b):
    """Whether two attributes are the same to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(np.asarray(a), np.asarray(b))


def published(model):
    names = [name for name in vars(model) if name.endswith("_")] + ["_training"]
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


# What callbacks are told.


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_is_a_task_with_an_epoch_for_each_subtask(solver):
    log = Log()
    model = classifier(solver).set_callbacks(log)
    assert model.fit(X, LABELS) is model
    assert model.n_iter_ == 6
    epochs = [(hook, "epoch", i) for i in range(6) for hook in ("begin", "end")]
    assert log.calls == [
        ("setup", "fit", 6), ("begin", "fit", 0), *epochs,
        ("end", "fit", 0), ("teardown", "fit", 6),
    ]  # fmt: skip


def test_partial_fit_is_a_task_of_one_epoch():
    log = Log()
    model = classifier().set_callbacks(log)
    for _ in range(2):
        model.partial_fit(X, LABELS, classes=[0, 1, 2])
    once = [
        ("setup", "partial_fit", 1), ("begin", "partial_fit", 0), ("begin", "epoch", 0),
        ("end", "epoch", 0), ("end", "partial_fit", 0), ("teardown", "partial_fit", 1),
    ]  # fmt: skip
    assert log.calls == 2 * once


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_epoch_that_does_not_begin_is_not_told(solver):
    """Training may end before `max_iter`, for 'lbfgs' within an iteration that finds nothing."""
    log = Log()
    model = classifier(solver, max_iter=5000, tol=1.0, n_iter_no_change=2).set_callbacks(log)
    model.fit(X, LABELS)
    assert model.n_iter_ < 5000
    begun = [call for call in log.calls if call[:2] == ("begin", "epoch")]
    ended = [call for call in log.calls if call[:2] == ("end", "epoch")]
    assert len(ended) == model.n_iter_
    assert len(begun) - len(ended) in ((0, 1) if solver == "lbfgs" else (0,))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_epoch_tells_what_the_model_records(early_stopping):
    snapshots = Snapshots()
    model = classifier("sgd", early_stopping=early_stopping, learning_rate="invscaling")
    model.set_callbacks(snapshots).fit(X, LABELS)
    *epochs, last = [epoch for epoch, *_ in snapshots.ended]
    assert last is None
    assert [epoch.n_iter for epoch in epochs] == list(range(1, 7))
    assert [epoch.loss for epoch in epochs] == model.loss_curve_
    if early_stopping:
        assert [epoch.score for epoch in epochs] == model.validation_scores_
    else:
        assert {epoch.score for epoch in epochs} == {None}
    rates = [epoch.learning_rate for epoch in epochs]
    assert rates == sorted(set(rates), reverse=True)
    assert all(epoch.seconds > 0 for epoch in epochs)


def test_an_epoch_is_numbers():
    """Contexts outlive the fit in a search: what they hold must not hold the memory of the fit."""
    snapshots = Snapshots()
    classifier().set_callbacks(snapshots).fit(X, LABELS)
    epoch = snapshots.ended[0][0]
    assert isinstance(epoch, Epoch)
    assert pickle.loads(pickle.dumps(epoch)) == epoch
    with pytest.raises(RuntimeError, match="fitted_estimator"):
        epoch.snapshot()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", [np.float32, np.float64, sp.csr_matrix])
def test_hooks_get_the_data_that_was_given(weighted, form):
    snapshots = Snapshots()
    given = form(np.where(abs(X) < 0.3, 0, X))
    weight = np.linspace(0.5, 1, 150) if weighted else None
    names = np.array(["a", "b", "c"])[LABELS]
    classifier().set_callbacks(snapshots).fit(given, names, sample_weight=weight)
    for _, features, labels, metadata, _ in snapshots.ended:
        assert features.dtype == given.dtype
        assert abs(features - given).max() == 0
        np.testing.assert_array_equal(labels, names)
        if weighted:
            assert metadata.keys() == {"sample_weight"}
            np.testing.assert_allclose(metadata["sample_weight"], weight, rtol=1e-6)
        else:
            assert metadata is None


FITS = [
    *((MLPClassifier, LABELS, {"solver": solver}) for solver in SOLVERS),
    (MLPClassifier, LABELS, {"early_stopping": True}),
    (MLPClassifier, np.stack([LABELS > 0, LABELS > 1], axis=1), {}),
    *((MLPRegressor, Y, {"solver": solver}) for solver in SOLVERS),
    (MLPRegressor, Y[:, 0], {"loss": "gaussian", "early_stopping": True}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("estimator", "y", "parameters"), FITS)
def test_a_fitted_estimator_is_that_of_a_fit_that_ended_there(estimator, y, parameters, dtype):
    def model(max_iter):
        return estimator(
            hidden_layer_sizes=5, random_state=0, tol=0.0, max_iter=max_iter, **parameters
        )

    features = X.astype(dtype)
    snapshots = Snapshots()
    whole = model(6).set_callbacks(snapshots).fit(features, y)
    fitted = [fitted for *_, fitted in snapshots.ended]
    for n_iter in range(1, 7):
        shorter = model(n_iter).fit(features, y)
        assert same(published(fitted[n_iter - 1]), published(shorter))
        np.testing.assert_array_equal(
            fitted[n_iter - 1].predict(features), shorter.predict(features)
        )
    assert same(published(fitted[-1]), published(whole))  # of the task that is the fit
    # At the beginning of an epoch the model is that of the end of the last one.
    assert snapshots.begun[0] is None  # the fit has not begun
    for before, after in zip(snapshots.begun[2:], fitted, strict=False):
        assert same(before.coefs_, after.coefs_)


def test_before_the_first_epoch_there_are_the_initial_weights():
    snapshots = Snapshots()
    model = classifier(max_iter=1, learning_rate_init=1e-300).set_callbacks(snapshots)
    model.fit(X, LABELS)
    assert same(snapshots.begun[1].coefs_, model.coefs_)


def test_a_fitted_estimator_goes_on_as_the_fit_would():
    snapshots = Snapshots()
    whole = classifier("sgd", shuffle=False, momentum=0.9).set_callbacks(snapshots)
    whole.fit(X, LABELS)
    half = snapshots.ended[2][-1].set_callbacks()
    for _ in range(3):
        half.partial_fit(X, LABELS)
    assert same(half.coefs_, whole.coefs_)


def test_what_nobody_asks_for_is_not_computed(monkeypatch):
    def snapshot(*_):
        raise AssertionError

    monkeypatch.setattr(FitState, "snapshot", snapshot)
    log = Log()
    classifier().set_callbacks(log, LearningCurve(), EarlyStopping(patience=2)).fit(X, LABELS)
    assert len(log.calls) == 16


def test_warm_start_is_told_from_its_own_first_epoch():
    snapshots = Snapshots()
    model = classifier(warm_start=True).fit(X, LABELS)
    model.set_callbacks(snapshots).fit(X, LABELS)
    assert [epoch.n_iter for epoch, *_ in snapshots.ended[:-1]] == list(range(1, 7))
    assert len(snapshots.ended[0][-1].loss_curve_) == 7


# What callbacks may do.


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_callbacks_change_nothing(parameters):
    plain = classifier(**parameters).fit(X, LABELS)
    watched = classifier(**parameters).set_callbacks(Snapshots(), Log(), LearningCurve())
    watched.fit(X, LABELS)
    assert same(published(plain), published(watched))
    assert vars(watched).keys() - vars(plain).keys() == {"_skl_callbacks"}


class StopAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def after_epoch(self, estimator, epoch):
        return epoch.n_iter == self.epoch


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_callback_ends_the_fit_and_all_hear_of_it(solver):
    log = Log()
    model = classifier(solver).set_callbacks(StopAt(3), log).fit(X, LABELS)
    assert model.n_iter_ == 3
    assert log.calls[-3:] == [("end", "epoch", 2), ("end", "fit", 0), ("teardown", "fit", 6)]
    with pytest.warns(ConvergenceWarning):
        shorter = classifier(solver, max_iter=3).fit(X, LABELS)
    assert same(published(model), published(shorter))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("warm", [False, True])
def test_a_callback_that_raises_leaves_the_estimator_as_it_was(solver, method, warm):
    model = classifier(solver, warm_start=warm).fit(X, LABELS)
    before = published(model)
    raising, log = Raising(method), Log()
    model.set_callbacks(raising, log)
    names = set(vars(model))
    with pytest.raises(ZeroDivisionError, match=method):
        model.fit(X[::2], LABELS[::2])
    assert set(vars(model)) == names
    assert same(published(model), before)
    assert raising.torn_down == 1  # whatever happened
    assert ("teardown", "fit", 6) in log.calls or method == "setup"
    model.set_callbacks().fit(X[::2], LABELS[::2])


@pytest.mark.parametrize("solver", SOLVERS)
def test_any_error_is_raised(solver):
    """SciPy would take a StopIteration for the wish to stop."""
    model = classifier(solver).set_callbacks(Raising("end_of_epoch", StopIteration))
    with pytest.raises((StopIteration, RuntimeError)):
        model.fit(X, LABELS)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("solver", SOLVERS)
def test_ctrl_c_in_a_callback_keeps_the_model(solver):
    model = classifier(solver).set_callbacks(Raising("end_of_epoch", KeyboardInterrupt))
    with pytest.warns(UserWarning, match="interrupted by user after 2 complete"):
        model.fit(X, LABELS)
    assert model.n_iter_ == 2


# How they belong to an estimator.


def test_callbacks_are_no_parameters_and_clones_share_them():
    log = Log()
    model = classifier().set_callbacks(log)
    assert model.get_params() == classifier().get_params()
    assert repr(model) == repr(classifier())
    clone(model).fit(X, LABELS)
    assert log.calls
    log.calls.clear()
    model.set_callbacks().fit(X, LABELS)
    assert log.calls == []
    clone(model).fit(X, LABELS)
    assert log.calls == []


@pytest.mark.parametrize("fitted", [False, True])
def test_an_estimator_with_callbacks_is_pickled_with_them(fitted):
    curve, stopping = LearningCurve(), EarlyStopping(patience=2)
    model = classifier().set_callbacks(curve, stopping, OptunaPruning(None))
    if fitted:
        model.set_callbacks(curve, stopping).fit(X, LABELS)
    copy = pickle.loads(pickle.dumps(model))
    copy.set_callbacks(*copy._skl_callbacks[:2]).fit(X, LABELS)
    ours = copy._skl_callbacks[0]
    assert len(ours.histories) == 1 + fitted
    assert ours.history["loss"] == copy.loss_curve_
    assert len(curve.histories) == fitted


@pytest.mark.parametrize("wrong", [Log, "progress", lambda epoch: None, object()])
def test_what_is_no_callback_is_refused(wrong):
    model = classifier().set_callbacks(LearningCurve())
    with pytest.raises(TypeError, match="callback"):
        model.set_callbacks(wrong)


def test_a_hook_that_asks_for_the_unknown_is_refused():
    class Asking(Callback):
        def on_fit_task_end(self, estimator, context, *, loss=None):
            pass

    with pytest.raises(TypeError, match="loss"):
        classifier().set_callbacks(Asking()).fit(X, LABELS)


def test_ours_say_where_they_belong():
    pipeline = make_pipeline(StandardScaler(), classifier())
    context = types.SimpleNamespace(task_name="fit", max_subtasks=2, epoch=None)
    for callback in (EarlyStopping(), LearningCurve(), OptunaPruning(None), Callback()):
        with pytest.raises(TypeError, match="to Pipeline"):
            callback.setup(pipeline, context)


def test_fits_in_threads_share_a_callback():
    curve = LearningCurve()
    models = [classifier(random_state=i).set_callbacks(curve) for i in range(6)]
    models = Parallel(3, backend="threading")(delayed(m.fit)(X, LABELS) for m in models)
    by_first = {history["loss"][0]: history["loss"] for history in curve.histories}
    assert len(by_first) == 6
    for model in models:
        assert by_first[model.loss_curve_[0]] == model.loss_curve_


# Early stopping.


def naive_stop(values, patience, min_delta):
    """After how many of the values to be minimized a fit ends; None if it does not."""
    best, waited = np.inf, 0
    for i, value in enumerate(values):
        if value < best - min_delta:
            best, waited = value, 0
        else:
            waited += 1
        if waited == patience:
            return i + 1
    return None


def epoch_of(**values):
    facts = {"n_iter": 1, "loss": 1.0, "score": None, "learning_rate": 0.1, "seconds": 0.1}
    return Epoch(**facts | values, note="", snapshot=lambda: None)


@pytest.mark.parametrize("monitor", ["loss", "score"])
@pytest.mark.parametrize("seed", range(20))
def test_early_stopping_counts_as_its_twin_does(monitor, seed):
    rng = np.random.default_rng(seed)
    values = np.round(rng.random(40), 1) - 0.02 * np.arange(40)
    values[rng.random(40) < 0.1] = np.nan
    patience, min_delta = int(rng.integers(1, 6)), float(rng.choice([0.0, 0.1]))
    stopping = EarlyStopping(monitor, patience=patience, min_delta=min_delta)
    estimator = classifier()
    stopping.setup(estimator, types.SimpleNamespace(task_name="fit"))
    sign = -1 if monitor == "score" else 1
    asked = [
        stopping.after_epoch(estimator, epoch_of(**{monitor: sign * value})) for value in values
    ]
    expected = naive_stop(values, patience, min_delta)
    assert (asked.index(True) + 1 if True in asked else None) == expected


@pytest.mark.parametrize("solver", SOLVERS)
def test_early_stopping_ends_a_fit(solver):
    free = classifier(solver, max_iter=100, n_iter_no_change=np.inf).fit(X, LABELS)
    curve = LearningCurve()
    stopping = EarlyStopping("loss", patience=2, min_delta=0.03)
    model = clone(free).set_callbacks(stopping, curve).fit(X, LABELS)
    assert stopping.stopped
    assert model.n_iter_ == naive_stop(curve.history["loss"], 2, 0.03) < free.n_iter_
    model.fit(X, LABELS)  # counts anew
    assert model.n_iter_ == len(curve.history["loss"])
    assert curve.histories[0]["loss"] == curve.histories[1]["loss"]


def test_early_stopping_by_score():
    stopping = EarlyStopping("score", patience=3)
    model = classifier(early_stopping=True, max_iter=200, n_iter_no_change=np.inf)
    model.set_callbacks(stopping).fit(X, LABELS)
    assert model.n_iter_ == naive_stop(-np.array(model.validation_scores_), 3, 0) < 200


def test_early_stopping_counts_over_calls_of_partial_fit():
    stopping = EarlyStopping(patience=3, min_delta=10)
    model = classifier().set_callbacks(stopping)
    asked = []
    for _ in range(4):
        model.partial_fit(X, LABELS, classes=[0, 1, 2])
        asked.append(stopping.stopped)
    assert asked == [False, False, False, True]  # the first is an improvement on infinity
    model.fit(X, LABELS)
    assert model.n_iter_ == 4
    other = clone(model).partial_fit(X, LABELS, classes=[0, 1, 2])
    assert other.n_iter_ == 1
    assert not stopping.stopped


@pytest.mark.parametrize(
    "wrong",
    [{"monitor": "accuracy"}, {"patience": 0}, {"patience": 2.5}, {"patience": True},
     {"min_delta": -1e-9}, {"min_delta": np.nan}],
)  # fmt: skip
def test_early_stopping_refuses_what_means_nothing(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be"):
        EarlyStopping(**wrong)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_score_that_is_not_there_is_missed(solver):
    with pytest.raises(ValueError, match=r"EarlyStopping\(monitor='score'\) needs rows held out"):
        classifier(solver).set_callbacks(EarlyStopping("score")).fit(X, LABELS)


# The learning curve.


def test_the_learning_curve_is_that_of_the_model():
    curve = LearningCurve()
    with pytest.raises(ValueError, match="recorded nothing"):
        _ = curve.history
    model = classifier(early_stopping=True).set_callbacks(curve).fit(X, LABELS)
    assert curve.history["n_iter"] == list(range(1, 7))
    assert curve.history["loss"] == model.loss_curve_
    assert curve.history["score"] == model.validation_scores_
    assert curve.history["learning_rate"] == [0.001] * 6
    model.set_params(early_stopping=False, warm_start=True).fit(X, LABELS)
    assert len(curve.histories) == 2
    assert curve.history["loss"] == model.loss_curve_[-6:]


def test_the_learning_curve_of_lbfgs_and_of_partial_fit():
    curve = LearningCurve()
    model = classifier("lbfgs").set_callbacks(curve).fit(X, LABELS)
    assert curve.history["loss"][-1] == model.loss_
    model = classifier().set_callbacks(curve)
    for _ in range(4):
        model.partial_fit(X, LABELS, classes=[0, 1, 2])
    assert len(curve.histories) == 2
    assert curve.history["n_iter"] == [1, 2, 3, 4]
    assert curve.history["loss"] == model.loss_curve_


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}])
def test_the_learning_curve_is_drawn(parameters):
    pytest.importorskip("matplotlib").use("Agg")
    curve = LearningCurve()
    classifier(**parameters).set_callbacks(curve).fit(X, LABELS)
    display = curve.plot(log_scale=True)
    drawn = [line.get_ydata() for lines in display.lines_ for line in lines]
    expected = [
        curve.history[name]
        for name in ("loss", "validation_loss", "score")
        if curve.history.get(name, [None])[0] is not None
    ]
    assert len(expected) >= 1 + (parameters == {"early_stopping": True})
    assert same([list(values) for values in drawn], expected)


# Optuna.


class Trial:
    """As much of a trial as the callback needs, without Optuna."""

    def __init__(self, direction="MAXIMIZE", prune_at=None):
        self.study = types.SimpleNamespace(direction=types.SimpleNamespace(name=direction))
        self.prune_at = prune_at
        self.reports = []

    def report(self, value, step):
        self.reports.append((step, value))

    def should_prune(self):
        return len(self.reports) == self.prune_at


class TestOptuna:
    optuna = None

    @pytest.fixture(autouse=True)
    def needs_optuna(self):
        TestOptuna.optuna = pytest.importorskip("optuna")
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)

    def test_each_epoch_is_reported(self):
        trial = Trial()
        model = classifier(early_stopping=True).set_callbacks(OptunaPruning(trial))
        model.fit(X, LABELS)
        assert trial.reports == list(enumerate(model.validation_scores_, start=1))
        trial = Trial("MINIMIZE")
        model = classifier().set_callbacks(OptunaPruning(trial, "loss"))
        for _ in range(3):
            model.partial_fit(X, LABELS, classes=[0, 1, 2])
        assert trial.reports == list(enumerate(model.loss_curve_, start=1))

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_a_pruned_trial_ends_the_fit(self, solver):
        model = classifier(solver).fit(X, LABELS)
        before = published(model)
        trial = Trial("MINIMIZE", prune_at=3)
        with pytest.raises(self.optuna.TrialPruned, match="after epoch 3"):
            model.set_callbacks(OptunaPruning(trial, "loss")).fit(X, LABELS)
        assert len(trial.reports) == 3
        assert same(published(model), before)

    @pytest.mark.parametrize(
        ("direction", "monitor"), [("MINIMIZE", "score"), ("MAXIMIZE", "loss")]
    )
    def test_the_direction_must_fit(self, direction, monitor):
        model = classifier(early_stopping=True)
        model.set_callbacks(OptunaPruning(Trial(direction), monitor))
        with pytest.raises(ValueError, match=f"it is '{direction.lower()}'"):
            model.fit(X, LABELS)

    def test_a_study(self):
        optuna = self.optuna
        curves = []

        def objective(trial):
            curves.append(LearningCurve())
            rate = trial.suggest_float("learning_rate_init", 1e-7, 1e-1, log=True)
            model = classifier(
                learning_rate_init=rate, max_iter=40, early_stopping=True, n_iter_no_change=40
            )
            model.set_callbacks(curves[-1], OptunaPruning(trial)).fit(X, LABELS)
            return model.best_validation_score_

        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=5),
        )
        study.optimize(objective, n_trials=10)
        states = [trial.state.name for trial in study.trials]
        assert {"PRUNED", "COMPLETE"} == set(states)
        for trial, curve, state in zip(study.trials, curves, states, strict=True):
            assert list(trial.intermediate_values.values()) == curve.history["score"]
            assert (len(curve.history["score"]) < 40) == (state == "PRUNED")

    def test_cross_validation_lets_it_through(self):
        model = classifier().set_callbacks(OptunaPruning(Trial("MINIMIZE", prune_at=2), "loss"))
        with pytest.raises(self.optuna.TrialPruned):
            cross_val_score(model, X, LABELS, error_score="raise")

    def test_a_fixed_trial(self):
        trial = self.optuna.trial.FixedTrial({})
        classifier().set_callbacks(OptunaPruning(trial, "loss")).fit(X, LABELS)


# With scikit-learn's own callbacks and meta-estimators.


class TestScikitLearn:
    @pytest.fixture(autouse=True)
    def needs_callbacks(self):
        self.callback = pytest.importorskip("sklearn.callback")

    @pytest.mark.parametrize(("estimator", "y", "parameters"), FITS)
    def test_scoring_monitor(self, estimator, y, parameters):
        name = "accuracy" if estimator is MLPClassifier else "r2"
        monitor = self.callback.ScoringMonitor(scoring=name)
        weight = np.linspace(0.5, 1, 150)
        model = estimator(hidden_layer_sizes=5, random_state=0, tol=0.0, max_iter=4, **parameters)
        model.set_callbacks(monitor).fit(X, y, sample_weight=weight)
        logged = monitor.get_logs().data
        expected = [
            clone(model).set_callbacks().set_params(max_iter=n).fit(X, y, sample_weight=weight)
            for n in range(1, 5)
        ]
        scores = [m.score(X, y, sample_weight=weight) for m in [*expected, model]]
        by_task = sorted(logged, key=lambda row: (-len(row["task_id_path"]), row["task_id"]))
        np.testing.assert_allclose([row[name] for row in by_task], scores, rtol=1e-12)

    @pytest.mark.parametrize("solver", SOLVERS)
    def test_progress_bar(self, solver, capsys):
        pytest.importorskip("rich")
        model = classifier(solver).set_callbacks(self.callback.ProgressBar())
        model.fit(X, LABELS)
        printed = capsys.readouterr().out
        assert "MLPClassifier - fit" in printed
        assert "100%" in printed

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_in_a_search_and_a_pipeline(self, n_jobs, capsys):
        pytest.importorskip("rich")
        monitor = self.callback.ScoringMonitor(scoring="accuracy")
        model = classifier(max_iter=3).set_callbacks(monitor)
        pipeline = make_pipeline(StandardScaler(), model)
        search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2, n_jobs=n_jobs)
        search.set_callbacks(self.callback.ProgressBar(max_propagation_depth=None))
        search.fit(X, LABELS)
        printed = capsys.readouterr().out
        assert "GridSearchCV - fit" in printed
        assert printed.count("MLPClassifier - fit") >= 5  # 2 × 2 folds and the refit
        logged = monitor.get_logs().data
        epochs = [row for row in logged if row["task_name"] == "epoch"]
        assert len(epochs) == 3 * 5
        plain = clone(search).set_callbacks()
        plain.estimator[-1].set_callbacks()
        plain.fit(X, LABELS)
        assert same(plain.best_estimator_[-1].coefs_, search.best_estimator_[-1].coefs_)

    def test_ours_inside_a_search(self):
        curve = LearningCurve()
        model = make_pipeline(StandardScaler(), classifier().set_callbacks(curve, StopAt(4)))
        GridSearchCV(model, {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2).fit(X, LABELS)
        assert [len(history["loss"]) for history in curve.histories] == [4] * 5

    def test_ours_given_to_others(self):
        with pytest.raises(TypeError, match="LearningCurve watches epochs of nbnet's"):
            LogisticRegression().set_callbacks(LearningCurve()).fit(X, LABELS)


# Other versions of scikit-learn.

CALLS = """
import importlib.util, json, sys, warnings

found = importlib.util.find_spec
if "without" in sys.argv:  # as before scikit-learn 1.9
    importlib.util.find_spec = lambda name: None if name == "sklearn.callback" else found(name)
warnings.simplefilter("ignore")
from sklearn.base import clone
from sklearn.datasets import load_iris
from nbnet import MLPClassifier
from nbnet.callbacks import Callback
from nbnet.estimators import callbacks_support

calls = []

class Log(Callback):
    def setup(self, estimator, context):
        self.root = context.root_uuid
        self.note("setup", estimator, context)
    def teardown(self, estimator, context):
        self.note("teardown", estimator, context)
    def on_fit_task_begin(self, estimator, context, *, metadata=None, fitted_estimator=None):
        self.note("begin", estimator, context, metadata, fitted_estimator)
    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        self.note("end", estimator, context, X, y, fitted_estimator)
        if context.task_id == 2 and context.task_name == "epoch":
            return True
    def note(self, hook, estimator, context, *facts):
        assert context.root_uuid == self.root
        facts = [f.loss_ if hasattr(f, "coefs_") else str(getattr(f, "shape", f)) for f in facts]
        calls.append([
            hook, type(estimator).__name__, context.task_name, context.task_id,
            context.max_subtasks, context.sequential_subtasks, context.estimator_name,
            context.parent and context.parent.task_name, context.init_time.tzname(),
            context.source_task_name, len(list(context)), *facts,
        ])

X, y = load_iris(return_X_y=True)
model = MLPClassifier(3, max_iter=5, random_state=0).set_callbacks(Log(), Log())
model.fit(X, y)
clone(model).partial_fit(X, y, classes=[0, 1, 2])
model.set_callbacks()
clone(model).fit(X, y)
assert ("without" in sys.argv) == (callbacks_support.Support is callbacks_support._Support)
print(json.dumps(calls))
"""


def test_older_versions_get_the_same_calls(run_python):
    pytest.importorskip("sklearn.callback")
    upstream = json.loads(run_python("-c", CALLS))
    ours = json.loads(run_python("-c", CALLS, "without"))
    assert len(upstream) > 20
    assert upstream == ours


UNKNOWN = """
import sys, warnings
import sklearn.callback as upstream
import sklearn.model_selection, sklearn.neural_network  # scikit-learn's own modules are as they are
if sys.argv[1] == "names":
    del upstream.with_callbacks, upstream.CallbackSupportMixin
elif sys.argv[1] == "signature":
    upstream.CallbackContext.call_on_fit_task_end = lambda self, estimator, task_data: None
else:  # where callbacks are kept
    upstream.CallbackSupportMixin.set_callbacks = lambda self, *callbacks: self
warnings.simplefilter("ignore")
from nbnet import MLPClassifier
from nbnet.callbacks import LearningCurve
model = MLPClassifier(3, max_iter=5, random_state=0).fit([[0.0], [1.0]], [0, 1])
try:
    model.set_callbacks(LearningCurve())
except RuntimeError as error:
    print(error)
"""


@pytest.mark.parametrize("change", ["names", "signature", "storage"])
def test_callbacks_that_are_not_as_known_are_refused_when_used(run_python, change):
    pytest.importorskip("sklearn.callback")
    assert "does not know the callbacks of scikit-learn" in run_python("-c", UNKNOWN, change)
