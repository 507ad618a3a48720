"""Hashes of what is learned: to show that a change of the code changes no bit of the results.

    python -m benchmarks.bits --json before.json      # in the old checkout
    python -m benchmarks.bits --against before.json   # in the new one, on the same machine

Each configuration is a short fit on data that scikit-learn ships. Weights, curves and predictions
are hashed apart. Hashes differ between processors, since sums are taken in another order there; so
they are compared on one machine and never stored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
)
from sklearn.preprocessing import scale

from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        array = np.ascontiguousarray(part)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _facts(model: Any, X: Any) -> dict[str, str]:
    """Hashes of a fitted model's weights, curves and predictions."""
    curves = [getattr(model, "loss_curve_", None), getattr(model, "validation_scores_", None)]
    facts = {
        "weights": _hash(*model.coefs_, *model.intercepts_),
        "curves": _hash(*(c for c in curves if c is not None), model.loss_, model.n_iter_),
        "predictions": _hash(model.predict(X)),
    }
    if hasattr(model, "predict_proba"):
        facts["probabilities"] = _hash(model.predict_proba(X))
    return facts


def _residual(x: Any) -> Any:
    h = g.relu(g.dense(x, 12))
    return g.concat(g.add(h, g.tanh(g.dense(h, 12))), g.multiply(h, g.maxout(x, 12, pieces=3)))


def configurations() -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Name each configuration, with a function that fits it and hashes the result."""
    digits, classes = load_digits(return_X_y=True)
    digits = digits / 16
    binary, two = load_breast_cancer(return_X_y=True)
    binary = scale(binary)
    flowers, species = load_iris(return_X_y=True)
    diabetes, progression = load_diabetes(return_X_y=True)
    progression = scale(progression)
    exercise, body = load_linnerud(return_X_y=True)
    exercise, body = scale(exercise), scale(body)
    labels = np.stack([classes % 2, classes > 4, classes % 3 == 0], axis=1).astype(int)
    counts = np.round(np.exp(progression)).clip(0, 9)
    weight = 0.5 + np.arange(len(digits)) % 3

    def case(kind: type, X: Any, y: Any, *, sample_weight: Any = None, **parameters: Any) -> Any:
        def run() -> dict[str, str]:
            model = kind(random_state=3, **{"max_iter": 6, **parameters})
            model.fit(X, y, sample_weight=sample_weight)
            return _facts(model, X)

        return run

    C, R = MLPClassifier, MLPRegressor
    sizes = {"hidden_layer_sizes": (24, 10)}
    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        many, one, real = (a.astype(dtype) for a in (digits, binary, diabetes))
        for solver in ("adam", "sgd", "lbfgs"):
            yield f"{name} {solver} classes", case(C, many, classes, solver=solver, **sizes)
            yield f"{name} {solver} binary", case(C, one, two, solver=solver)
            yield f"{name} {solver} labels", case(C, many, labels, solver=solver, **sizes)
            yield f"{name} {solver} numbers", case(R, real, progression, solver=solver, **sizes)
            yield f"{name} {solver} CSR", case(C, csr_matrix(many), classes, solver=solver, **sizes)
            yield (
                f"{name} {solver} weights",
                case(C, many, classes, sample_weight=weight, solver=solver, **sizes),
            )
            yield (
                f"{name} {solver} graph",
                case(C, many, classes, architecture=_residual, solver=solver),
            )
        for activation in (
            "identity",
            "logistic",
            "tanh",
            "leaky_relu",
            "abs",
            "softplus",
            "maxout",
        ):
            yield f"{name} {activation}", case(C, many, classes, activation=activation, **sizes)
        for loss in ("absolute_error", "quantile", "huber", "gaussian", "laplace"):
            yield f"{name} {loss}", case(R, real, progression, loss=loss, **sizes)
        yield f"{name} poisson", case(R, real, counts, loss="poisson", **sizes)
        yield f"{name} pinned", case(C, many, classes, loss="pinned_log_loss", **sizes)
        targets = exercise.astype(dtype)
        yield f"{name} several", case(R, targets, body, max_iter=30)
        yield (
            f"{name} full covariance",
            case(R, targets, body, loss="gaussian", covariance="full", max_iter=30),
        )
        for solver in ("adam", "sgd"):
            yield (
                f"{name} {solver} early stopping",
                case(C, many, classes, solver=solver, early_stopping=True, max_iter=15, **sizes),
            )
    yield (
        "early stopping numbers",
        case(R, diabetes, progression, early_stopping=True, max_iter=40, learning_rate_init=0.01),
    )
    for schedule in ("invscaling", "adaptive"):
        yield (
            f"sgd {schedule}",
            case(
                C, flowers, species, solver="sgd", learning_rate=schedule, learning_rate_init=0.2,
                max_iter=80, n_iter_no_change=2, tol=1e-2,
            ),
        )  # fmt: skip
    yield "momentum", case(C, flowers, species, solver="sgd", nesterovs_momentum=False, max_iter=20)
    yield "no momentum", case(C, flowers, species, solver="sgd", momentum=0, max_iter=20)
    yield "no shuffle", case(C, digits, classes, shuffle=False)
    yield "no hidden layer", case(C, digits, classes, hidden_layer_sizes=())
    yield "batch 1", case(C, flowers, species, batch_size=1)
    yield "batch 7", case(C, flowers, species, batch_size=7, max_iter=20)
    yield (
        "large batch",
        case(R, np.tile(diabetes, (8, 1)), np.tile(progression, 8), batch_size=3000),
    )
    yield "large penalty", case(C, digits, classes, alpha=10.0, **sizes)
    yield "deep", case(C, digits, classes, hidden_layer_sizes=(20,) * 6)
    yield "wide", case(C, digits, classes, hidden_layer_sizes=(300, 200), max_iter=2)

    def warm(kind: type, X: Any, y: Any, **parameters: Any) -> Callable[[], dict[str, str]]:
        def run() -> dict[str, str]:
            model = kind(warm_start=True, random_state=3, max_iter=4, **parameters)
            return _facts(model.fit(X, y).fit(X, y), X)

        return run

    def stream(kind: type, X: Any, y: Any, **parameters: Any) -> Callable[[], dict[str, str]]:
        def run() -> dict[str, str]:
            model = kind(random_state=3, **parameters)
            first = {"classes": np.unique(y)} if kind is C else {}
            model.partial_fit(X[:90], y[:90], **first)
            for start in range(90, len(X), 90):
                model.partial_fit(X[start : start + 90], y[start : start + 90])
            return _facts(model, X)

        return run

    for solver in ("adam", "sgd"):
        yield f"{solver} warm start", warm(C, digits, classes, solver=solver)
        yield f"{solver} stream", stream(C, digits, classes, solver=solver)
        yield f"{solver} stream numbers", stream(R, diabetes, progression, solver=solver)
    yield "lbfgs warm start", warm(R, diabetes, progression, solver="lbfgs")
    yield "early stopping warm start", warm(C, digits, classes, early_stopping=True)

    def network(dtype: Any) -> Callable[[], dict[str, str]]:
        def run() -> dict[str, str]:
            x = g.input(64, name="x")
            net = g.Network(g.dense(_residual(x), 10))
            params = net.init(random_state=5, dtype=dtype)
            X = digits[:200].astype(dtype)
            loss, gradient = net.loss_and_gradient(
                params, X, classes[:200], loss="softmax_cross_entropy", alpha=0.1
            )
            (of_x,) = net.gradients(
                params, X, classes[:200], loss="softmax_cross_entropy", wrt=["x"]
            )
            return {
                "loss": _hash(loss),
                "gradient": _hash(gradient),
                "node": _hash(of_x),
                "Jacobian": _hash(net.jacobian(params, X[:3])),
                "outputs": _hash(net.forward(params, X)),
            }

        return run

    yield "network float64", network(np.float64)
    yield "network float32", network(np.float32)


def table() -> dict[str, dict[str, str]]:
    """Hashes by configuration and part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: run() for name, run in configurations()}


def main() -> int:
    """Write the table, or compare it with one; the exit status is 1 if they differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the table to this file")
    parser.add_argument("--against", type=Path, help="compare with the table in this file")
    options = parser.parse_args()
    hashes = table()
    if options.json:
        options.json.write_text(json.dumps(hashes, indent=1))
    print(f"{len(hashes)} configurations")
    if options.against is None:
        return 0
    before = json.loads(options.against.read_text())
    different = [
        f"{name}: {part}"
        for name in hashes.keys() | before.keys()
        for part in hashes.get(name, {}).keys() | before.get(name, {}).keys()
        if hashes.get(name, {}).get(part) != before.get(name, {}).get(part)
    ]
    print("\n".join(sorted(different)) or "the same bits")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
