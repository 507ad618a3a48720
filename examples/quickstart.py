"""
nbnet beside scikit-learn
=========================

Train nbnet's and scikit-learn's MLP with the same seed and compare them::

    pip install ".[plot]" && python examples/quickstart.py

Both learn scikit-learn's handwritten digits. The two loss curves agree to rounding and the
accuracies are equal; nbnet takes less time. The curves are saved as quickstart.png. Exits with
status 1 if the curves or the accuracies differ.
"""

import time

import matplotlib

matplotlib.use("Agg")  # a file is written; no screen is needed

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as SklearnMLPClassifier

from nbnet import MLPClassifier

PARAMETERS = {
    "hidden_layer_sizes": (100, 50),
    "learning_rate_init": 0.005,
    "max_iter": 100,
    "random_state": 0,
}
TOLERANCE = 1e-6
FIGURE = "quickstart.png"


def fit(classifier, X, y):
    """Return the fitted classifier and the seconds its fit took."""
    start = time.perf_counter()
    fitted = classifier(**PARAMETERS).fit(X, y)
    return fitted, time.perf_counter() - start


def main():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.25, random_state=0)

    _, cold = fit(MLPClassifier, X_train, y_train)  # compiles, or loads what was compiled before
    ours, warm = fit(MLPClassifier, X_train, y_train)
    theirs, sklearn_seconds = fit(SklearnMLPClassifier, X_train, y_train)

    curves_agree = len(ours.loss_curve_) == len(theirs.loss_curve_)
    epochs = min(ours.n_iter_, theirs.n_iter_)
    our_curve, their_curve = (np.array(m.loss_curve_[:epochs]) for m in (ours, theirs))
    difference = np.abs(our_curve / their_curve - 1)
    curves_agree &= bool(difference.max() <= TOLERANCE)
    our_accuracy, their_accuracy = (m.score(X_test, y_test) for m in (ours, theirs))

    print(f"digits: {len(X_train)} images to learn from, {len(X_test)} held out")
    print(f"{'':14}{'epochs':>8}{'final loss':>14}{'accuracy':>10}{'seconds':>9}")
    for name, model, accuracy, seconds in (
        ("nbnet", ours, our_accuracy, warm),
        ("scikit-learn", theirs, their_accuracy, sklearn_seconds),
    ):
        print(f"{name:14}{model.n_iter_:8}{model.loss_:14.8f}{accuracy:10.4f}{seconds:9.3f}")
    print(f"largest relative difference of the loss curves: {difference.max():.1e}")
    print(
        f"nbnet is {sklearn_seconds / warm:.1f} times as fast; its first fit here took {cold:.2f} s"
    )

    draw(our_curve, their_curve, difference).savefig(FIGURE, dpi=120)
    print(f"saved {FIGURE}")
    if not curves_agree or our_accuracy != their_accuracy:
        raise SystemExit("nbnet and scikit-learn DISAGREE")


def draw(our_curve, their_curve, difference):
    """Return a figure of the two loss curves and of how far they are apart."""
    epochs = np.arange(1, len(our_curve) + 1)
    figure, (curves, gap) = plt.subplots(
        2, sharex=True, figsize=(6, 5), height_ratios=(2, 1), layout="constrained"
    )
    curves.semilogy(epochs, their_curve, color="tab:orange", linewidth=5, alpha=0.5)
    curves.semilogy(epochs, our_curve, color="tab:blue", linewidth=1.5)
    curves.legend(["scikit-learn", "nbnet"])
    curves.set(title="Handwritten digits, same seed", ylabel="training loss")
    # an exact match has no logarithm: draw it at the resolution of float64
    gap.semilogy(epochs, np.maximum(difference, np.finfo(float).eps), color="black")
    gap.axhline(TOLERANCE, color="gray", linestyle=":")
    gap.set(xlabel="epoch", ylabel="relative difference")
    return figure


if __name__ == "__main__":
    main()
