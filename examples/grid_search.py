"""A grid search over layers, activations and maxout pieces that finishes in seconds.

    pip install . pandas && python examples/grid_search.py

Scikit-learn's handwritten digits. The grid is a list: `pieces` is only varied where there are maxout
units, and where activations differ from layer to layer the number of layers must fit. The candidates
are compared in three folds of the training rows; the winner then meets the held-out rows once.

`n_jobs` stays at 1: a fit already uses all cores, and one process compiles kernels once.
"""

import time

import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from nbnet import MLPClassifier

GRID = [
    {
        "hidden_layer_sizes": [(), (32,), (64,), (64, 32)],
        "activation": ["relu", "tanh", "leaky_relu"],
    },
    {
        "hidden_layer_sizes": [(64, 32)],
        "activation": [("tanh", "relu"), ("relu", "tanh"), ("maxout", "relu"), ("abs", "softplus")],
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
    # every candidate gets the same number of epochs
    model = MLPClassifier(
        learning_rate_init=0.005, batch_size=64, max_iter=30, tol=1e-3, random_state=0
    )
    start = time.perf_counter()
    search = GridSearchCV(model, GRID, cv=3).fit(X_train, y_train)
    seconds = time.perf_counter() - start
    print(seconds)
    table = pd.DataFrame(search.cv_results_)
    print(table.sort_values("rank_test_score")[["param_hidden_layer_sizes","param_activation","param_pieces","mean_test_score","std_test_score","mean_fit_time"]].to_string())
    print(search.score(X_test,y_test))


if __name__ == "__main__":
    main()
