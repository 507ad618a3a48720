r"""
Bernoulli outputs: why the sigmoid, and why with the log
========================================================

For y in {0, 1} a sigmoid unit with the log-likelihood has a strong gradient wherever it is wrong; a
clipped linear unit has none outside the unit interval, and a sigmoid with squared error next to
none, so that training starts to crawl or stands still. (Goodfellow et al., 2016, section 6.2.2.2.)

The two units that fail are there for study only, through `nbnet.graph`. `MLPClassifier` does not
offer them.
"""

# %%
# Cost and gradient
# -----------------
#
# A network that is nothing but its input has the raw outputs z as its rows, so that costs and
# gradients can be read off directly. For y = 1:

import warnings

import matplotlib.pyplot as plt
import numpy as np

from nbnet import graph as g

UNITS = {
    "sigmoid_cross_entropy": ("sigmoid, log-likelihood", "tab:blue"),
    "half_sigmoid_squared_error": ("sigmoid, squared error", "tab:orange"),
    "clipped_linear_cross_entropy": ("clipped linear, log-likelihood", "tab:red"),
}
identity = g.Network(g.input(1, name="z"))
nothing = np.empty(0, dtype=np.float32)  # its parameters


def cost_and_gradient(z, y, loss):
    """Cost of each row and its gradient."""
    z = np.asarray(z, dtype=np.float32)[:, np.newaxis]
    y = np.full_like(z, y)
    (gradient,) = identity.gradients(nothing, z, y, loss=loss, wrt=["z"])
    costs = [
        identity.loss_and_gradient(nothing, row[None], one[None], loss=loss)[0]
        for row, one in zip(z, y, strict=True)
    ]
    return np.array(costs), gradient[:, 0] * len(z)  # the loss is a mean over rows


z = np.linspace(-6, 6, 1201)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
for loss, (name, colour) in UNITS.items():
    cost, gradient = cost_and_gradient(z, 1, loss)
    left.plot(z, cost, color=colour, lw=2, label=name)
    right.plot(z, gradient, color=colour, lw=2)
left.set(xlabel="z", ylabel="cost", title="Cost for y = 1", ylim=(-0.2, 7))
left.text(-5.9, 6.4, "clipped: 87, and flat", color="tab:red")
fig.legend(loc="outside lower center", ncols=3, frameon=False)
right.set(xlabel="z", ylabel="dJ / dz", title="Gradient for y = 1", ylim=(-2.1, 0.1))
plt.show()

# %%
# The farther to the left, the more wrong is the prediction. There only the first unit still knows
# which way to go:

print(f"{'z':>6}" + "".join(f"{name:>34}" for name, _ in UNITS.values()))
for at in (-40, -10, -4, 0.5, 4):
    gradients = [cost_and_gradient([at], 1, loss)[1][0] for loss in UNITS]
    print(f"{at:6}" + "".join(f"{value:34.2g}" for value in gradients))

# %%
# The stable form
# ---------------
#
# :math:`-\log \sigma(z)` for y = 1 and :math:`-\log (1 - \sigma(z))` for y = 0 are both
# :math:`\zeta((1 - 2y) z)` with the softplus :math:`\zeta(x) = \log(1 + e^x)`. nbnet computes it
# from z, never from a probability that has been rounded to 0 or 1. In float32, for y = 0:

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # the logarithm of 0
    for at in (-30, -10, 10, 20, 100):
        sigmoid = 1 / (1 + np.exp(-np.float32(at)))
        by_hand = -np.log(1 - sigmoid)
        (stable,), _ = cost_and_gradient([at], 0, "sigmoid_cross_entropy")
        print(f"z = {at:4}:  -log(1 - sigmoid(z)) = {by_hand:<12.6g}  softplus(z) = {stable:.6g}")

# %%
# What becomes of training
# ------------------------
#
# One linear unit on two overlapping classes, and gradient descent from a start that is confident
# and wrong, as a unit may come to be. The same data, start, steps and rate for all.

rng = np.random.default_rng(0)
y = rng.integers(0, 2, 400)
X = (2 * y - 1 + rng.normal(size=400))[:, np.newaxis]
net = g.Network(g.dense(g.input(1), 1))
start = net.pack([np.array([[-12.0]])], [np.array([0.0])])
RATE = 0.5
LOOKS = np.unique([*np.geomspace(1, 3000, 200).astype(int), 30, 300])


def descend(loss, params):
    """Parameters at the end; accuracy and length of the gradient at some of the steps."""
    accuracy, length = [], []
    for step in range(1, LOOKS[-1] + 1):
        _, gradient = net.loss_and_gradient(params, X, y, loss=loss)
        if step in LOOKS:
            predicted = net.forward(params, X, loss=loss)[:, 0] > 0.5
            accuracy.append(np.mean(predicted == y))
            length.append(np.linalg.norm(gradient))
        params = params - RATE * gradient
    return params, np.array(accuracy), np.array(length)


fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
print(f"{'':32}{'first gradient':>15}{'accuracy after 30':>19}{'300':>7}{'3000 steps':>12}")
final = {}
for loss, (name, colour) in UNITS.items():
    params, accuracy, length = descend(loss, start)
    final[loss] = params, accuracy[-1]
    left.plot(LOOKS, accuracy, color=colour, lw=2, label=name)
    right.plot(LOOKS, length, color=colour, lw=2)
    after = (f"{accuracy[np.searchsorted(LOOKS, step)]:.1%}" for step in (30, 300, 3000))
    print("{:32}{:15.4f}{:>19}{:>7}{:>12}".format(name, length[0], *after))
left.set(xlabel="step", ylabel="accuracy", title="Accuracy", xscale="log", ylim=(0, 1))
fig.legend(loc="outside lower center", ncols=3, frameon=False)
right.set(xlabel="step", title="Length of the gradient", xscale="log", yscale="log", ylim=(1e-5, 3))
plt.show()

# %%
# Of the squared error nothing is heard for a thousand steps. Then it leaves its start, only to put
# nearly all rows into one class, where the next plateau waits. The clipped unit does not leave:
# nearly all rows that it has wrong lie outside the unit interval, where their gradient is exactly
# zero. More steps will not help.

params, _ = final["half_sigmoid_squared_error"]
called = net.forward(params, X, loss="half_sigmoid_squared_error")[:, 0] > 0.5
print(f"squared error at the end: {called.mean():.1%} of the rows are called class 1")
params, accuracy = final["clipped_linear_cross_entropy"]
raw = net.forward(params, X)[:, 0]
wrong = (raw > 0.5) != y
outside = (raw <= 0) | (raw >= 1)
print(f"clipped unit at the end: {wrong.sum()} of {len(y)} rows wrong")
print(f"of these without a gradient: {np.sum(wrong & outside)}")
assert accuracy < 0.5 < final["sigmoid_cross_entropy"][1]
