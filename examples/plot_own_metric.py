"""
A metric and a validation set of one's own
==========================================

When to stop training is a question of two choices: which rows are held out, and what is measured
on them. The defaults are a random tenth of the rows and the accuracy. Here the rows are those of
other writers than the network learns from, and the measure is what mistakes cost.
"""

# %%
# Writers that the network has not seen
# -------------------------------------
#
# The images of handwritten digits in scikit-learn come from 13 people, one after the other. A
# random split puts images of each writer on both sides, and so promises more than holds for the
# next writer. Without shuffling, the later rows are those of other people (but for one at each
# border).

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from nbnet import MLPClassifier

X, y = load_digits(return_X_y=True)
X = X / 16
X_train, y_train = X[:900], y[:900]
X_val, y_val = X[900:1350], y[900:1350]
X_test, y_test = X[1350:], y[1350:]

settings = {"hidden_layer_sizes": (64,), "learning_rate_init": 0.01, "random_state": 0}
split = MLPClassifier(**settings, early_stopping=True).fit(X_train, y_train)
given = MLPClassifier(**settings, early_stopping=True).fit(
    X_train, y_train, X_val=X_val, y_val=y_val
)
for name, model in (("random rows", split), ("other writers", given)):
    promised, found = model.best_validation_score_, model.score(X_test, y_test)
    print(f"{name:14} accuracy promised {promised:.3f}, for the last writers {found:.3f}")
assert abs(given.best_validation_score_ - given.score(X_test, y_test)) < abs(
    split.best_validation_score_ - split.score(X_test, y_test)
)

# %%
# What a mistake costs
# --------------------
#
# Let the digits be amounts of money: to read 9 for 0 costs more than to read 1 for 0. The cost of
# a mistake is the difference of the two digits. A network can do more here than to name the most
# probable digit: it can name the one with the smallest expected cost, the median of the
# probabilities.


def named(model, X):
    """The median of the digits by their probabilities."""
    return np.argmax(np.cumsum(model.predict_proba(X), axis=1) >= 0.5, axis=1)


def negative_cost(model, X, y):
    return -float(np.mean(np.abs(named(model, X) - y)))


# %%
# ``scoring`` takes the function as it is. It is called after each epoch with the model of the
# moment. With ``restore_best`` the training goes on, so that the curves can be seen to their end,
# and the best weights are kept.

models = {
    name: MLPClassifier(
        **settings, scoring=scoring, restore_best=True, max_iter=120, n_iter_no_change=np.inf, tol=0
    )
    for name, scoring in {"loss": "loss", "accuracy": None, "cost": negative_cost}.items()
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # all run to max_iter, as they should
    for model in models.values():
        model.fit(X_train, y_train, X_val=X_val, y_val=y_val)

print("kept by     epoch   cost for the last writers")
for name, model in models.items():
    print(f"{name:10}{model.best_n_iter_:7}{-negative_cost(model, X_test, y_test):12.3f}")

# %%
# All three have learned the same weights epoch by epoch; they differ only in the epoch that they
# keep. Here the three epochs are about equally good: the curves are flat there, and for the last
# writers the difference is no more than chance. But only the third curve says what mistakes will
# cost.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharex=True)
curves = {
    "loss": models["loss"].validation_losses_,
    "accuracy": models["accuracy"].validation_scores_,
    "cost": np.negative(models["cost"].validation_scores_),
}
for ax, (name, curve) in zip(axes, curves.items(), strict=True):
    epochs = np.arange(1, len(curve) + 1)
    ax.plot(epochs, curve, color="tab:blue")
    best = models[name].best_n_iter_
    ax.plot(best, curve[best - 1], "o", color="tab:red", label=f"kept: epoch {best}")
    ax.set(title=f"{name} on other writers", xlabel="epoch")
    ax.legend()
axes[0].plot(epochs, models["loss"].loss_curve_, color="0.6")
axes[0].text(epochs[-1], 1.3 * models["loss"].loss_curve_[-1], "training", ha="right")
axes[0].set_yscale("log")
plt.show()
