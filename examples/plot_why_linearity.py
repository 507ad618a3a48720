"""
Why linearity: how gradients get through
========================================

The gradient at a weight is a product along the path from it to the loss. Each unit on that path
contributes the derivative of its activation function. Where that is small, little is learned;
through many layers small derivatives multiply. A rectifier's derivative is exactly one wherever the
unit is on.
(Goodfellow et al., 2016, section 6.3.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from nbnet import MLPClassifier
from nbnet import graph as g
from nbnet.inspection import TrainingDisplay

# %%
# One unit
# --------
# The loss is h itself, so the gradient with respect to z is the slope of the unit.

z = np.linspace(-6, 6, 241)[:, np.newaxis]
kinds = ("logistic", "tanh", "softplus", "relu", "leaky_relu", "abs")
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for kind in kinds:
    x = g.input(1, name="z")
    net = g.Network(getattr(g, kind)(x, name="h"))
    slope = net.jacobian(net.init(0), z)[:, 0, 0]
    style = "--" if kind == "leaky_relu" else "-"  # else it hides the ReLU, or is hidden
    axes[0].plot(z, net.forward(net.init(0), z), label=kind, linestyle=style)
    axes[1].plot(z, slope, label=kind, linestyle=style)
    at = {number: slope[np.searchsorted(z[:, 0], number)] for number in (-3, 0.1, 3)}
    print(f"{kind:10}", *(f"  slope at {number:3}: {s:6.3f}" for number, s in at.items()))
axes[0].set(title="h = g(z)", xlabel="z", ylim=(-1.5, 4))
axes[1].set(title="slope g'(z)", xlabel="z")
axes[0].legend()
plt.show()

# %%
# Twenty layers
# -------------
# Untrained networks of twenty hidden layers of 64 units, with the estimators' initial weights.
# :meth:`nbnet.graph.Network.gradients` gives the gradient of the loss at any node: here at each
# hidden layer. The slope of logistic units, at most a quarter, takes it away: after twenty layers
# nothing is left. Half of all ReLUs are off and pass nothing on, which takes a factor of about
# 0.7 in each layer; absolute values and maxout units are never off.

rng = np.random.RandomState(0)
X, y = rng.normal(size=(500, 64)), rng.normal(size=500)
depth = 20
names = [f"h{i}" for i in range(1, depth + 1)]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for kind in ("logistic", "tanh", "relu", "leaky_relu", "abs", "maxout"):
    net = g.Network(g.mlp(64, [(kind, 64)] * depth, 1))
    sizes = np.zeros(depth)
    style = "o--" if kind == "leaky_relu" else "o-"
    for seed in range(5):
        gradients = net.gradients(net.init(seed), X, y, wrt=names)
        sizes += [np.sqrt(np.mean((len(X) * gradient) ** 2)) / 5 for gradient in gradients]
    ax.semilogy(range(1, depth + 1), sizes, style, markersize=4, label=kind)
    per_layer = (sizes[0] / sizes[-1]) ** (1 / (depth - 1))
    print(
        f"{kind:10}  at layer 20: {sizes[-1]:.1e}   at layer 1: {sizes[0]:.1e}   "
        f"a factor of {per_layer:.2f} a layer"
    )
ax.set(
    xlabel="hidden layer", ylabel="gradient at a unit, root mean square", xticks=[1, 5, 10, 15, 20]
)
ax.legend()
plt.show()

# %%
# What comes of it
# ----------------
# Digits, six hidden layers, the same few epochs. The logistic network does not get off the ground.

warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the same for all
X, y = load_digits(return_X_y=True)
models = {
    kind: MLPClassifier(
        hidden_layer_sizes=(32,) * 6, activation=kind, max_iter=40, random_state=0
    ).fit(X / 16, y)
    for kind in ("logistic", "tanh", "relu", "leaky_relu", "abs", "maxout")
}
for kind, model in models.items():
    print(f"{kind:10}  loss {model.loss_:.3f}, accuracy in training {model.score(X / 16, y):.3f}")
TrainingDisplay.from_estimators(models, log_scale=True)
plt.show()
