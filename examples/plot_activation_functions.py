r"""
Activation functions in input space
===================================

A hidden unit first maps its input x to a number, z = w·x + b, then applies its activation
function, h = g(z). Over two inputs an elementwise unit is a sheet folded, or curved, along the one
line z = 0; a maxout unit is the upper envelope of several planes.
:class:`nbnet.inspection.HiddenUnitDisplay` draws the units of any fitted model.
(Goodfellow et al., 2016, section 6.3.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning

from nbnet import MLPClassifier, MLPRegressor
from nbnet.inspection import HiddenUnitDisplay, TrainingDisplay

# %%
# One unit of each kind
# ---------------------
# Weights may be set by hand: here all elementwise units see the same :math:`z = x_0 - x_1 / 2`.
# The maxout unit has four planes of its own.

corners = np.array([[-2.0, -2.0], [2.0, 2.0]])


def unit(activation, weights, bias):
    model = MLPRegressor(
        hidden_layer_sizes=(1,), activation=activation, pieces=4, negative_slope=0.1, solver="lbfgs"
    ).fit(corners, [0.0, 1.0])
    model.coefs_[0] = np.array(weights)
    model.intercepts_[0] = np.array(bias)
    return model


kinds = {
    "identity": "identity",
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU, slope 0.1",
    "abs": "absolute value",
    "logistic": "logistic",
    "tanh": "tanh",
    "softplus": "softplus",
}
models = {label: unit(kind, [[1.0], [-0.5]], [0.0]) for kind, label in kinds.items()}
planes = [[1.0, -0.8, 0.1, 0.0], [0.3, 0.4, -1.0, 0.2]]
models["maxout of four planes"] = unit("maxout", planes, [-0.5, -0.2, 0.0, 0.3])

figure, axes = plt.subplots(
    2, 4, figsize=(12, 6.4), subplot_kw={"projection": "3d"}, layout="constrained"
)
for ax, (label, model) in zip(axes.flat, models.items(), strict=True):
    display = HiddenUnitDisplay.from_estimator(
        model,
        corners,
        plot_method="plot_surface",
        grid_resolution=41,
        ax=[ax],
        rcount=41,
        ccount=41,
    )
    ax.set(title=label, xlabel="$x_0$", ylabel="$x_1$", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    ax.view_init(elev=28, azim=-115)
    low, high = display.activations.min(), display.activations.max()
    print(f"{label:24} from {low:6.3f} to {high:6.3f}")
plt.show()

# %%
# Units that have learned
# -----------------------
# Two half moons, two hidden layers of eight. In the first each unit is one fold; units of the
# second bend along lines that are bent themselves. Units that stay pale are off on all of this.

X, y = make_moons(400, noise=0.15, random_state=0)
warnings.simplefilter("ignore", ConvergenceWarning)  # 150 epochs will do
fit = {"learning_rate_init": 0.01, "max_iter": 150, "tol": 0, "random_state": 2}
model = MLPClassifier(hidden_layer_sizes=(8, 8), **fit).fit(X, y)
print(f"accuracy on the moons: {model.score(X, y):.3f}")

for layer in (0, 1):
    display = HiddenUnitDisplay.from_estimator(model, X, layer=layer, eps=0.3, cmap="Blues")
    for ax in display.axes_.flat:
        ax.scatter(*X.T, c=y, cmap="coolwarm", s=2)
    display.figure_.suptitle(f"hidden layer {layer + 1}")
plt.show()

# %%
# All of these kinds learn the moons, at their own pace.

activations = ("logistic", "tanh", "relu", "leaky_relu", "abs", "maxout")
models = {
    name: MLPClassifier(hidden_layer_sizes=(8, 8), activation=name, **fit).fit(X, y)
    for name in activations
}
for name, model in models.items():
    print(f"{name:12} loss {model.loss_:.4f} after {model.n_iter_} epochs")
TrainingDisplay.from_estimators(models, log_scale=True)
plt.show()
