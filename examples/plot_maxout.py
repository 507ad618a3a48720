r"""
Maxout: a unit that learns its activation function
==================================================

A maxout unit takes the largest of K affine maps of its input x: h is the maximum of w_k·x + b_k
over k = 1 … K. With two pieces it *is* a ReLU, a leaky ReLU or an absolute
value, depending on its weights; with more it is any convex function, as closely as there are
pieces. (Goodfellow et al., 2016, section 6.3.1; Goodfellow et al., "Maxout networks", 2013.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nbnet import MLPRegressor

# %%
# What it can be
# --------------
# The second piece is the first times a number: 0 makes a ReLU, 1/4 a leaky ReLU, -1 an absolute
# value. The weights of a unit's pieces are neighbouring columns of ``coefs_``.

rng = np.random.RandomState(0)
X = rng.normal(size=(1000, 5))
y = rng.normal(size=1000)
w, b = rng.normal(size=(5, 1)), rng.normal(size=1)


def unit(activation, weights, bias):
    model = MLPRegressor(
        hidden_layer_sizes=(1,), activation=activation, negative_slope=0.25, solver="lbfgs"
    ).fit(X, y)
    model.coefs_[0], model.intercepts_[0] = weights, bias
    return model


figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
z = np.linspace(-2, 2, 101)
for ax, (activation, slope) in zip(
    axes, {"relu": 0.0, "leaky_relu": 0.25, "abs": -1.0}.items(), strict=True
):
    maxout = unit("maxout", np.hstack([w, slope * w]), np.hstack([b, slope * b]))
    same = np.array_equal(maxout.transform(X), unit(activation, w, b).transform(X))
    print(
        f"maxout with the pieces z and {slope:5.2f} z is {activation:10}: every bit equal, {same}"
    )
    ax.plot(z, z, "C0--", label="$z_1 = z$")
    ax.plot(z, slope * z, "C1--", label=f"$z_2 = {slope:g} \\cdot z$")
    ax.plot(z, np.maximum(z, slope * z), color="black", linewidth=3, alpha=0.4, label="the larger")
    ax.set(title=activation, xlabel="z", aspect="equal")
    ax.legend(loc="upper center", fontsize="small")
plt.show()

# %%
# What it can learn
# -----------------
# One unit of K pieces, fitted to a convex function. K straight sides follow a smooth curve with an
# error, in the mean of squares, that falls as :math:`K^{-4}`, if they are where they are needed. A
# piece that is nowhere the largest gets no gradient and stays out of use, so the start matters:
# here the pieces start as tangents of a flatter parabola, where each is the largest somewhere.
# ``warm_start`` lets a fit go on from weights set by hand, with small steps first.

warnings.simplefilter("ignore", ConvergenceWarning)  # small steps end when their number is up
x = np.linspace(-1, 1, 400)[:, np.newaxis]
target = x[:, 0] ** 2
numbers = (2, 3, 4, 6, 8, 12)


def learn(pieces):
    model = MLPRegressor(
        hidden_layer_sizes=(1,),
        activation="maxout",
        pieces=pieces,
        alpha=0,
        batch_size=len(x),
        tol=0,
        max_iter=1,
        warm_start=True,
        random_state=0,
    ).fit(x, target)
    slopes = np.linspace(-1, 1, pieces)
    model.coefs_ = [slopes[np.newaxis], np.ones((1, 1))]
    model.intercepts_ = [-(slopes**2) / 2, np.zeros(1)]
    model.set_params(max_iter=4000).fit(x, target)
    return model.set_params(solver="lbfgs", tol=1e-9).fit(x, target)


models = {pieces: learn(pieces) for pieces in numbers}
errors = {k: np.mean((model.predict(x) - target) ** 2) for k, model in models.items()}
for pieces, error in errors.items():
    print(f"{pieces} pieces: mean squared error {error:.2e}")

figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
for ax, pieces in zip(axes, (2, 4, 8), strict=False):
    model = models[pieces]
    lines = x @ model.coefs_[0] + model.intercepts_[0]
    lines = lines * model.coefs_[1] + model.intercepts_[1]
    ax.plot(x, lines, color="C1", linewidth=0.8)
    ax.plot(x, target, color="black", linewidth=4, alpha=0.25, label="$x^2$")
    ax.plot(x, model.predict(x), color="C0", label="maxout")
    ax.set(title=f"{pieces} pieces", xlabel="x", ylim=(-0.3, 1.1))
    ax.legend()
axes[3].loglog(numbers, list(errors.values()), "o-", label="learned")
axes[3].loglog(numbers, errors[2] * (2 / np.array(numbers)) ** 4, "k:", label="$K^{-4}$")
axes[3].set(title="error", xlabel="pieces K", ylabel="mean squared error")
axes[3].set_xticks(numbers, [str(number) for number in numbers], minor=False)
axes[3].minorticks_off()
axes[3].legend()
plt.show()
