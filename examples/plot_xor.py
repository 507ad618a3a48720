"""
Learning XOR
============

The exclusive or of two bits is the textbook's first example of why a network needs a hidden layer:
no linear model can compute it, two hidden rectifiers can. (Goodfellow et al., 2016, section 6.1.)
"""

# %%
# A linear model says one half
# ----------------------------
#
# Of all linear models, the one with the least squared error predicts 1/2 for each of the points.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.linear_model import LinearRegression

from nbnet import MLPClassifier

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = np.array([0, 1, 1, 0])
linear = LinearRegression().fit(X, y).predict(X)
print("linear model:", linear.round(6))
assert np.allclose(linear, 0.5)

# %%
# Two hidden units learn it
# -------------------------
#
# Two units are the fewest that can do it, so most starts end in a local minimum: this one does not.

parameters = {"activation": "relu", "solver": "lbfgs", "alpha": 0.0, "max_iter": 1000}
model = MLPClassifier(hidden_layer_sizes=(2,), random_state=6, **parameters).fit(X, y)
H = model.transform(X)  # what the hidden units make of the four points
probabilities = model.predict_proba(X)[:, 1]
print("x1 x2   xor   h1      h2      probability of 1")
for point, truth, hidden, probability in zip(X, y, H, probabilities, strict=True):
    row = *point, truth, *hidden, probability
    print("{:.0f}  {:.0f}    {}  {:7.3f} {:7.3f}    {:.6f}".format(*row))
assert np.array_equal(model.predict(X), y), "XOR was not learned"

# %%
# The space that they learn
# -------------------------
#
# In the space of the inputs (left) no line separates the two classes. In the space of the hidden
# units (right) one does: the output layer is a linear model still, but one of features that were
# learnt for it. The two points whose exclusive or is 1 have all but met there, as they do in the
# book's solution.


def from_inputs(Z):
    return model.predict_proba(Z)[:, 1]


def from_hidden_units(Z):
    return expit(Z @ model.coefs_[1] + model.intercepts_[1])


figure, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
for ax, points, probability, name in zip(
    axes, (X, H), (from_inputs, from_hidden_units), "xh", strict=True
):
    margin = 0.3 * np.ptp(points, axis=0)
    sides = np.linspace(points.min(axis=0) - margin, points.max(axis=0) + margin, 200)
    u, v = np.meshgrid(*sides.T)
    p = probability(np.column_stack([u.ravel(), v.ravel()])).reshape(u.shape)
    shades = ax.contourf(u, v, p, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    for point, (x1, x2), truth in zip(points, X, y, strict=True):
        ax.plot(*point, "ko", markerfacecolor="black" if truth else "white")
        # labels to the left and to the right, for two points all but coincide
        ax.annotate(
            f"({x1:.0f}, {x2:.0f})", point, (-8 if x1 else 8, 3), textcoords="offset points",
            horizontalalignment="right" if x1 else "left",
        )  # fmt: skip
    ax.set(xlabel=f"${name}_1$", ylabel=f"${name}_2$", title=f"space of ${name}$")
figure.colorbar(shades, ax=axes, label="probability of 1")

# %%
# More units, fewer bad starts
# ----------------------------
#
# Two units seldom find the way; with some to spare most starts do.

solved = []
for units in (2, 4, 8):
    fits = (
        MLPClassifier(hidden_layer_sizes=(units,), random_state=seed, **parameters)
        for seed in range(100)
    )
    solved.append(sum(np.array_equal(fit.fit(X, y).predict(X), y) for fit in fits))
    print(f"{units} hidden units: {solved[-1]} of 100 starts learn XOR")
assert solved == sorted(solved)
