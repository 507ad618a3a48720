"""
Classifying text
================

Real sentences, a sparse matrix, and an honest look at the linear model::

    pip install ".[plot]" && python examples/text_classification.py

Which part of SciPy is this about? The documents are what SciPy, which nbnet needs anyway, says of
its own public functions and classes in their docstrings: the prose before the list of parameters,
without the dotted names that would give the module away. `TfidfVectorizer` turns them into a CSR
matrix, which nbnet reads as it is: no dense copy is made.

With so few texts and so many words a linear model is hard to beat, and here it is not beaten: the
two are about equal. Look at such a table before you prefer the network.
"""

import importlib
import inspect
import re
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline

from nbnet import MLPClassifier

# the subpackages of SciPy, and those modules in them that have a list of functions of their own
MODULES = [
    *["cluster.hierarchy", "cluster.vq", "fft", "integrate", "interpolate", "linalg", "ndimage"],
    *["optimize", "signal", "sparse", "sparse.csgraph", "sparse.linalg", "spatial"],
    *["spatial.distance", "spatial.transform", "special", "stats"],
]
METRICS = ["accuracy", "balanced_accuracy", "neg_log_loss"]
QUESTIONS = [
    "How do I find the minimum of a function of several variables?",
    "What is the shortest path between two nodes of a graph?",
    "Remove the high frequencies from a recording with a low-pass filter",
    "Is the difference between the means of two samples more than chance?",
]


def read_docstrings():
    """Return documents, and for each the part of SciPy that it is about."""
    documents = {}
    for name in MODULES:
        module = importlib.import_module(f"scipy.{name}")
        for public in map(vars(module).get, module.__all__):
            text = inspect.getdoc(public) if callable(public) else None
            prose = re.split(r"\n[A-Z][A-Za-z ]+\n---", text or "")[0]
            prose = re.sub(r"\w+(\.\w+)+", "", prose)
            if len(prose.split()) >= 10:
                documents.setdefault(prose, name.split(".")[0])  # an alias is no second document
    return list(documents), list(documents.values())


def main():
    documents, parts = read_docstrings()
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, dtype=np.float32)
    X = vectorizer.fit_transform(documents)
    names, counts = np.unique(parts, return_counts=True)
    print(f"{len(documents)} documents: " + ", ".join(map("{1} {0}".format, names, counts)))
    print(f"{X.shape[1]} words; {X.nnz / np.prod(X.shape):.1%} of the matrix are not zero")

    models = {
        "most frequent part": DummyClassifier(),
        # of C = 1, 10, 100 and 1000 the one with the best accuracy on these folds
        "logistic regression": LogisticRegression(C=100, max_iter=1000),
        "nbnet": MLPClassifier(
            hidden_layer_sizes=(64,),
            alpha=0.001,
            batch_size=32,
            learning_rate_init=0.003,
            tol=0.005,
            n_iter_no_change=3,
            random_state=0,
        ),
    }
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    print(f"\n{'mean of five folds':20}{''.join(f'{metric:>19}' for metric in METRICS)}")
    accuracy = {}
    for name, model in models.items():
        # in the pipeline, the vocabulary too is learnt from the training documents alone
        pipeline = make_pipeline(vectorizer, model)
        result = cross_validate(pipeline, documents, parts, cv=folds, scoring=METRICS)
        scores = [result[f"test_{metric}"].mean() for metric in METRICS]
        print(f"{name:20}{''.join(f'{score:19.3f}' for score in scores)}")
        accuracy[name] = scores[0]
    assert accuracy["nbnet"] > 0.85, "the texts were not learnt"
    assert abs(accuracy["nbnet"] - accuracy["logistic regression"]) < 0.02, "no tie after all"

    print("\nThe last model, fitted to all documents, is asked:")
    pipeline.fit(documents, parts)
    probabilities = pipeline.predict_proba(QUESTIONS)
    for question, row in zip(QUESTIONS, probabilities, strict=True):
        print(f"{question:70} {pipeline.classes_[row.argmax()]} ({row.max():.0%})")

    draw(probabilities, pipeline.classes_)
    plt.show()


def draw(probabilities, parts):
    """Draw the probability of each part of SciPy for each question."""
    _, axes = plt.subplots(2, 2, figsize=(9, 5.5), sharex=True, sharey=True, layout="constrained")
    for ax, question, row in zip(axes.flat, QUESTIONS, probabilities, strict=True):
        ax.barh(parts, row)
        ax.set_title(textwrap.fill(question, 45), fontsize=9)
    axes[0, 0].invert_yaxis()
    for ax in axes[1]:
        ax.set_xlabel("probability")


if __name__ == "__main__":
    main()
