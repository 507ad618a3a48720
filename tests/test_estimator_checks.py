"""scikit-learn's checks for estimators, on every kind of configuration, none expected to fail."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Residual:
    """A body with two paths from its first layer to its last; a test's name has no address."""

    def __call__(self, x):
        h = g.tanh(g.dense(x, 20))
        return g.tanh(g.add(h, g.dense(h, 20)))

    def __repr__(self):
        return "residual"


# Small enough to be quick, trained for long enough to learn what the checks ask for.
CONFIGURATIONS = [
    MLPClassifier(max_iter=100),
    MLPClassifier((20, 10), ("maxout", "leaky_relu"), max_iter=60, learning_rate_init=0.01),
    # alpha: a check compares predict_log_proba, which is finite, with logarithms of predict_proba
    MLPClassifier(20, "maxout", pieces=3, solver="lbfgs", max_iter=50, alpha=1.0),
    MLPClassifier(20, "tanh", solver="sgd", learning_rate_init=0.1, max_iter=50),
    MLPClassifier((), solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, max_iter=50),
    MLPRegressor(max_iter=100),
    MLPRegressor(
        "absolute_error", (20, 10), ("abs", "softplus"), max_iter=60, learning_rate_init=0.01
    ),
    MLPRegressor("poisson", 20, solver="lbfgs", max_iter=50),
    MLPRegressor("squared_error", 20, "maxout", solver="lbfgs", max_iter=50),
    MLPRegressor("squared_error", 20, "tanh", solver="sgd", learning_rate_init=0.1, max_iter=50),
    MLPRegressor("quantile", 20, quantile=0.6, max_iter=60, learning_rate_init=0.01),
    MLPRegressor("huber", 20, huber_delta=0.5, solver="lbfgs", max_iter=50),
    MLPRegressor("gaussian", 20, max_iter=60, learning_rate_init=0.01),
    # not L-BFGS: in some of its iterations rounding grows beyond what weights may differ by
    MLPRegressor("gaussian", 20, covariance="full", max_iter=60, learning_rate_init=0.01),
    MLPRegressor("laplace", 20, max_iter=60, learning_rate_init=0.01),
    MLPRegressor("tweedie", 20, solver="lbfgs", max_iter=50),
    MLPRegressor("gamma", 20, solver="lbfgs", max_iter=50),
    MLPRegressor("negative_binomial", 20, solver="lbfgs", max_iter=50),
    MLPClassifier(20, loss="pinned_log_loss", max_iter=60, learning_rate_init=0.01),
    MLPClassifier(20, label_smoothing=0.1, max_iter=60, learning_rate_init=0.01),
    MLPClassifier(20, loss="focal", max_iter=60, learning_rate_init=0.01),
    MLPClassifier(architecture=Residual(), max_iter=60, learning_rate_init=0.01),
    MLPRegressor(architecture=Residual(), solver="lbfgs", max_iter=50),
    MLPRegressor(standardize_y=True, max_iter=100),
]


def test_every_loss_is_checked():
    for estimator in (MLPClassifier, MLPRegressor):
        names, _ = estimator._parameter_constraints["loss"]  # or a loss of the user's
        losses = sorted(names.options)
        checked = {c.loss for c in CONFIGURATIONS if type(c) is estimator}
        if estimator is MLPRegressor:
            checked.add("binomial")  # the checks know no targets between 0 and 1
        assert sorted(checked) == losses


def zeros_in_y(estimator):
    """The checks that hand over y = 0 although `positive_only` is set, and a loss that has none."""
    names = ("data_not_an_array", "general", "preserve_dtypes", "n_iter")
    if estimator.loss != "gamma":
        return {}
    return dict.fromkeys((f"check_transformer_{name}" for name in names), "y must be > 0")


@parametrize_with_checks(CONFIGURATIONS, expected_failed_checks=zeros_in_y)
def test_checks(estimator, check):
    check(estimator)


# With early stopping two things cannot hold, in scikit-learn neither: partial_fit is refused, and a
# row given twice is not a row of weight 2, since its copies may fall on both sides of the split.
NOT_WITH_EARLY_STOPPING = {
    "check_fit_score_takes_y",
    "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}
EARLY_STOPPING = {
    "early_stopping": True,
    "validation_fraction": 0.4,  # two rows of five
    "max_iter": 50,
    "learning_rate_init": 0.01,
}


# Here it is partial_fit alone that is refused.
NOT_INCREMENTAL = {
    "check_fit_score_takes_y",
    "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
}


def checks_but(left_out, *models):
    for model in models:
        for estimator, check in estimator_checks_generator(model):
            name = check.func.__name__
            # weights of classes are refused where a row has several labels
            several = "multilabel" in name and estimator.get_params().get("class_weight")
            if name not in left_out and not several:
                yield pytest.param(estimator, check, id=f"{type(model).__name__}-{name}")


@pytest.mark.parametrize(
    ("estimator", "check"),
    list(
        checks_but(
            NOT_WITH_EARLY_STOPPING,
            MLPClassifier(**EARLY_STOPPING),
            MLPRegressor(**EARLY_STOPPING),
            MLPClassifier(**EARLY_STOPPING, scoring="loss"),
            MLPRegressor(**EARLY_STOPPING, scoring="neg_mean_absolute_error"),
        )
    ),
)
def test_checks_with_early_stopping(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    list(
        checks_but(
            NOT_INCREMENTAL,
            MLPClassifier(class_weight="balanced", max_iter=100),
            MLPClassifier(restore_best=True, max_iter=100),
            MLPRegressor(restore_best=True, standardize_y=True, max_iter=100),
        )
    ),
)
def test_checks_without_partial_fit(estimator, check):
    check(estimator)
