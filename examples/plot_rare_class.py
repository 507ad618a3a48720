"""
A rare class
============

Where one class is rare, a network may be right nearly always and still be of no use. There are two
ways to a better one: give the rare class more weight in the training (``class_weight``), or leave
the training as it is and predict the class from a lower probability on. Here both are tried, and
judged by what mistakes cost.
"""

# %%
# Eights among digits
# -------------------
#
# The task is to find the eights among handwritten digits of 8 x 8 pixels. A tenth of the images
# are eights. To make them rare, four of five are dropped, so that about one image in fifty is an
# eight.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import PrecisionRecallDisplay, average_precision_score, confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from nbnet import MLPClassifier

X, digit = load_digits(return_X_y=True)
X = X / 16
eights = np.flatnonzero(digit == 8)
kept = np.setdiff1d(np.arange(len(X)), eights[np.arange(len(eights)) % 5 > 0])
X, y = X[kept], digit[kept] == 8
print(f"{len(X)} images, {y.sum()} of them eights ({y.mean():.1%})")

# %%
# Three weights of the rare class
# -------------------------------
#
# Each model predicts every image once, in a fold of which it has seen the others.
# ``class_weight="balanced"`` gives both classes the same sum of weights: here a row of an eight
# counts 46 times as much as another.

WEIGHTS = {"no weight": None, "ten times": {True: 10}, "balanced": "balanced"}
COLOURS = {"no weight": "tab:blue", "ten times": "tab:orange", "balanced": "tab:green"}
folds = StratifiedKFold(5, shuffle=True, random_state=0)
probability = {}
for name, weight in WEIGHTS.items():
    model = MLPClassifier(
        hidden_layer_sizes=(8,),
        activation="tanh",
        solver="lbfgs",
        alpha=10,
        max_iter=500,
        class_weight=weight,
        random_state=0,
    )
    probability[name] = cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1]

print("              accuracy  eights found  false alarms  mean probability")
for name, p in probability.items():
    (_, alarms), (_, found) = confusion_matrix(y, p > 0.5)
    accuracy = np.mean((p > 0.5) == y)
    print(f"{name:12}{accuracy:10.1%}{found:8} of {y.sum()}{alarms:14}{p.mean():17.1%}")

# %%
# Without weights the network is right most of the time because it seldom says "eight". With
# weights it finds more of them, and pays with false alarms. It also believes that eights are more
# frequent than they are: the mean of its probabilities is no longer their share.

# %%
# Weights or a threshold
# ----------------------
#
# A false alarm costs 1. An eight that is missed costs 10. For probabilities that can be believed
# the best threshold follows from these two numbers alone: 1 / (1 + 10).

MISSED = 10
thresholds = np.linspace(0.005, 0.995, 199)
cost = {
    name: [np.sum(~y & (p > t)) + MISSED * np.sum(y & (p <= t)) for t in thresholds]
    for name, p in probability.items()
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for name, p in probability.items():
    PrecisionRecallDisplay.from_predictions(
        y, p, ax=left, name=name, curve_kwargs={"color": COLOURS[name]}
    )
    right.plot(thresholds, cost[name], color=COLOURS[name], label=name)
    for ax_threshold, marker in ((0.5, "o"), (1 / (1 + MISSED), "s")):
        at = np.argmin(np.abs(thresholds - ax_threshold))
        right.plot(thresholds[at], cost[name][at], marker, color=COLOURS[name])
left.set(title="What can be had", xlabel="share of eights found", ylabel="share of alarms right")
left.legend(loc="lower left")
right.plot([], [], "o", color="0.4", label="threshold 0.5")
right.plot([], [], "s", color="0.4", label="threshold 1/11")
right.set(title="What it costs", xlabel="threshold", ylabel="cost", ylim=(0, None))
right.legend(loc="lower right")
plt.show()

# %%
# The curves on the left hardly differ: all three networks rank the images about as well. A weight
# moves the network along its curve, as a threshold does. On the right, the network without weights
# is dear at 0.5, and the cheapest of all at 1/11.

least = {}
for name, p in probability.items():
    at_half, at_odds = (
        np.sum(~y & (p > t)) + MISSED * np.sum(y & (p <= t)) for t in (0.5, 1 / (1 + MISSED))
    )
    least[name] = min(at_half, at_odds)
    precision = average_precision_score(y, p)
    print(
        f"{name:12}cost {at_half:4} at 0.5,{at_odds:4} at 1/11   average precision {precision:.3f}"
    )
assert least["no weight"] == min(least.values())

# %%
# So begin with the threshold: probabilities stay what they are, and if the costs change, nothing
# is trained anew. Take weights where a program reads `predict` and no threshold can be set, or
# where so few rows are left that the network ignores them altogether.
