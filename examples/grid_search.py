"""
Grid search over architectures
==============================

Layers, activations and maxout pieces, compared in seconds::

    pip install ".[plot]" && python examples/grid_search.py

Scikit-learn's handwritten digits. The grid is a list of grids: `pieces` only varies where there are
maxout units, and where each layer has an activation of its own, the number of layers must match.
The candidates are compared in three folds of the training rows; the winner is refitted on all of
them and then meets the held-out rows, once.

`n_jobs` stays at 1: a fit uses several cores by itself where that pays, and a single process loads
the kernels once.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from nbnet import MLPClassifier

GRID = [
    {
        "hidden_layer_sizes": [()],  # no hidden layer: softmax regression
    },
    {
        "hidden_layer_sizes": [(32,), (64,), (64, 32)],
        "activation": ["relu", "tanh", "leaky_relu"],
    },
    {
        "hidden_layer_sizes": [(64, 32)],
        "activation": [("tanh", "relu"), ("maxout", "relu"), ("abs", "softplus")],
    },
    {
        "hidden_layer_sizes": [(32,), (64,)],
        "activation": ["maxout"],
        "pieces": [2, 3, 5],
    },
]


def main():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, y, test_size=0.25, stratify=y, random_state=0
    )
    model = MLPClassifier(
        learning_rate_init=0.005, batch_size=64, tol=0.005, n_iter_no_change=3, random_state=0
    )
    start = time.perf_counter()
    search = GridSearchCV(model, GRID, cv=3).fit(X_train, y_train)
    seconds = time.perf_counter() - start

    results = search.cv_results_
    print(f"{'layers':10}{'activation':24}{'pieces':>6}{'accuracy':>11}{'deviation':>11}")
    for i in np.argsort(results["rank_test_score"], kind="stable"):
        candidate = model.get_params() | results["params"][i]
        layers, activation = candidate["hidden_layer_sizes"], candidate["activation"]
        pieces = candidate["pieces"] if "maxout" in activation else ""
        print(
            f"{layers!s:10}{str(activation) if layers else '':24}{pieces:>6}"
            f"{results['mean_test_score'][i]:11.4f}{results['std_test_score'][i]:11.4f}"
        )
    fits = len(results["params"]) * search.n_splits_ + 1
    print(f"{fits} fits in {seconds:.1f} s, compiling included where kernels were not on disk yet")

    accuracy = search.score(X_test, y_test)
    print(f"best: {search.best_params_}")
    print(f"its accuracy on {len(y_test)} held-out digits: {accuracy:.4f}")
    assert search.best_params_["hidden_layer_sizes"] != (), "hidden units did not help"
    assert accuracy > 0.95, "the winner does not hold what the folds promised"

    draw(results)
    plt.show()


def draw(results):
    """Draw the accuracy of each candidate, mean and spread over the folds, the best one first."""
    order = np.argsort(results["rank_test_score"], kind="stable")
    labels = [", ".join(map(str, results["params"][i].values())) for i in order]
    _, ax = plt.subplots(figsize=(7, 5), layout="constrained")
    ax.errorbar(
        results["mean_test_score"][order],
        np.arange(len(order)),
        xerr=results["std_test_score"][order],
        fmt="o",
        capsize=3,
    )
    ax.set_yticks(np.arange(len(order)), labels, fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="accuracy in three folds: mean and deviation", title="19 networks for the digits")


if __name__ == "__main__":
    main()
