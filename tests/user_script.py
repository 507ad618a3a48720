"""What a user writes who runs ``mypy --strict``; `test_typing` runs it on this file."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import nbnet
from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.callbacks import Callback, EarlyStopping, Epoch, LearningCurve

X: NDArray[np.float64] = np.random.default_rng(0).standard_normal((50, 4))
y: NDArray[np.bool_] = X[:, 0] > 0

classifier = MLPClassifier(
    hidden_layer_sizes=(8, 4),
    activation=["tanh", "maxout"],
    solver="lbfgs",
    max_iter=1000,
    random_state=0,
)
assert_type(classifier.fit(X, y), MLPClassifier)
labels: NDArray[Any] = classifier.predict(X)
probabilities: NDArray[Any] = classifier.predict_proba(X)
accuracy: float = classifier.score(X, y)
first: NDArray[Any] = classifier.coefs_[0]


weighed = MLPClassifier(
    class_weight={True: 2.0, False: 1}, early_stopping=True, scoring="f1", restore_best=True
)
assert_type(weighed.fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:]), MLPClassifier)
small = MLPRegressor(solver="lbfgs", max_iter=1000, standardize_y=True).fit(X, 100 * X[:, 1])
again = nbnet.from_sklearn(small.to_sklearn())
assert_type(again, MLPClassifier | MLPRegressor)


class Stop(Callback):
    def after_epoch(self, estimator: MLPClassifier, epoch: Epoch) -> bool:
        return epoch.n_iter > 2 and epoch.loss < 0.5


curve = LearningCurve()
assert_type(classifier.set_callbacks(curve, EarlyStopping(patience=50), Stop()), MLPClassifier)
classifier.fit(X, y)
losses: list[float] = curve.history["loss"]


def body(x: g.Node) -> g.Node:
    h = g.relu(g.dense(x, 8))
    return g.leaky_relu(h + g.dense(h, 8), negative_slope=0.2) * h


def square(z: float) -> float:
    return z * z


def cost(z: NDArray[Any], y: NDArray[Any], gradient: NDArray[Any]) -> float:
    gradient[0] = z[0] - y[0]
    return float(gradient[0] ** 2 / 2)


own = MLPRegressor(
    nbnet.CustomLoss(cost, link="identity"),
    activation=["tanh", nbnet.CustomActivation(square, lambda z: 2 * z, gain=2.0)],
    hidden_layer_sizes=(8, 4),
    solver="lbfgs",
    max_iter=1000,
)
assert_type(own.fit(X, X[:, 1]), MLPRegressor)

regressor = MLPRegressor(
    loss="gaussian", architecture=body, solver="lbfgs", max_iter=1000, random_state=0
)
regressor.fit(X, X[:, 1], sample_weight=np.ones(50))
mean, std = regressor.predict(X, return_std=True)
hidden: NDArray[Any] = regressor.transform(X)
quantiles = MLPRegressor("quantile", 4, quantile=[0.1, 0.9], solver="lbfgs", random_state=0)
interval: NDArray[Any] = quantiles.fit(X, X[:, 1]).predict_interval(X, coverage=0.8)
d2: float = quantiles.score(X, X[:, 1])
net, params = regressor.to_network()
assert_type(net, g.Network)
outputs: NDArray[Any] = net.forward(params, X)
print(net.summary(), nbnet.__version__, accuracy, labels.shape, probabilities.shape, std.shape)
