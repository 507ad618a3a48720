"""
Mixed columns and missing values
================================

Numbers, categories and gaps in one pipeline, cross-validated::

    pip install ".[plot]" pandas && python examples/mixed_columns.py

Who survived the Titanic? Of its 1,309 passengers the age of every fifth is unknown and the deck of
three in four; some columns are numbers, one is ordered, some are mere names. Each kind gets its own
preparation. All of it, and the choice of each model's penalty, is learnt inside the folds, so that
nothing leaks from the rows that the scores are computed on.

The data are real, and what is missing was missing: they are OpenML's data set 40945, of which
scikit-learn's own tests carry a copy. It is read here to need no network.
"""

import gzip
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn.datasets
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from nbnet import MLPClassifier

NUMBERS = ["age", "sibsp", "parch", "fare"]
ORDERED = ["pclass"]
NAMES = ["sex", "embarked", "deck", "title"]
METRICS = ["accuracy", "roc_auc", "neg_log_loss"]


def read_titanic():
    """Return the table that `fetch_openml("titanic", version=1).frame` is, without a network."""
    (path,) = (Path(sklearn.datasets.__file__).parent / "tests/data/openml/id_40945").glob("data*")
    header, rows = gzip.decompress(path.read_bytes()).decode().split("@data\n")
    columns = re.findall("@attribute '(.+?)'", header)
    table = pd.read_csv(io.StringIO(rows), names=columns, na_values="?")
    # the deck is the first letter of the cabin; the title stands before the dot in a name
    return table.assign(
        deck=table["cabin"].str[0], title=table["name"].str.extract(r", (.+?)\.", expand=False)
    )


def prepare():
    """Return the transformer from the table to a matrix of numbers."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    ordered = make_pipeline(OrdinalEncoder(), StandardScaler())
    # a missing name is a category of its own; rare ones share one, and so do those never seen
    names = OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist")
    return ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("ordered", ordered, ORDERED), ("names", names, NAMES)]
    )


def search(model, parameter, values):
    """Return the pipeline of `prepare` and a model that chooses one of its parameters by itself."""
    pipeline = Pipeline([("prepare", prepare()), ("model", model)])
    # the passengers are sorted by class: without a shuffle each fold would be of one class
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    grid = {f"model__{parameter}": values}
    return GridSearchCV(pipeline, grid, cv=folds, scoring="neg_log_loss")


def main():
    table = read_titanic()
    X, y = table[NUMBERS + ORDERED + NAMES], table["survived"]
    print(f"{len(X)} passengers, {y.mean():.0%} survived; missing values:")
    missing = X.isna().mean()
    print(missing[missing > 0].to_string(float_format="{:.1%}".format))

    linear = LogisticRegression(solver="newton-cholesky")
    network = MLPClassifier(
        hidden_layer_sizes=(16,),
        activation="softplus",
        batch_size=64,
        learning_rate_init=0.005,
        random_state=0,
    )
    models = {
        "most frequent class": DummyClassifier(),
        "logistic regression": search(linear, "C", [0.1, 1, 10]),
        "nbnet": search(network, "alpha", [0.1, 0.3, 1]),
    }
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    print(f"\n{'mean of five folds':20}{''.join(f'{metric:>14}' for metric in METRICS)}")
    scores, folds_log_loss = {}, {}
    for name, model in models.items():
        result = cross_validate(model, X, y, cv=folds, scoring=METRICS)
        scores[name] = [result[f"test_{metric}"].mean() for metric in METRICS]
        folds_log_loss[name] = -result["test_neg_log_loss"]
        print(f"{name:20}{''.join(f'{score:14.3f}' for score in scores[name])}")

    by_chance, by_linear, by_network = (score[-1] for score in scores.values())
    print(f"held-out log-loss: {by_network - by_linear:.3f} better than the linear model's")
    assert by_network > by_linear > by_chance, "the network's probabilities are no better"

    draw(folds_log_loss["logistic regression"], folds_log_loss["nbnet"])
    plt.show()


def draw(by_linear, by_network):
    """Draw the held-out log-loss of both models, fold by fold."""
    _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    place = np.arange(len(by_linear))
    ax.plot(place, by_linear, "o", color="tab:orange", label="logistic regression")
    ax.plot(place, by_network, "o", color="tab:blue", label="nbnet")
    ax.vlines(place, by_linear, by_network, color="gray", zorder=0)
    ax.set_xticks(place, [f"fold {i + 1}" for i in place])
    ax.set(ylabel="held-out log-loss", title="Who survived the Titanic: lower is better")
    ax.legend()


if __name__ == "__main__":
    main()
