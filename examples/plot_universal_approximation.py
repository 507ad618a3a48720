"""
Universal approximation: one hidden layer, ever wider
=====================================================

One hidden layer and a linear output suffice for any continuous function on a bounded set, with as
small an error as you like, if the layer is wide enough: shown for squashing units by Hornik et al.
and by Cybenko (1989), for rectifiers by Leshno et al. (1993). The theorem says that the weights
exist, not that training finds them; here it does. (Goodfellow et al., 2016, section 6.4.1.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from nbnet import MLPRegressor
from nbnet.inspection import linear_regions

# %%
# A wavy function on [-1, 1], without noise: what is left is the error of approximation. A wider
# network starts from the weights of the narrower one, its new units at random places with a weight
# of zero on top, so that it starts where that one ended. The best of three such starts is kept.

warnings.simplefilter("ignore", ConvergenceWarning)  # wide layers go on improving for very long
x = np.linspace(-1, 1, 200)[:, np.newaxis]
target = np.sin(3 * np.pi * x[:, 0]) * np.exp(-(x[:, 0] ** 2)) + x[:, 0]
widths = (1, 2, 4, 8, 16, 32, 64)


def widen(narrow, width, activation, seed):
    rng = np.random.RandomState(seed)
    model = MLPRegressor(
        hidden_layer_sizes=(width,),
        activation=activation,
        solver="lbfgs",
        alpha=0,
        tol=1e-9,
        max_iter=1,
        warm_start=True,
    ).fit(x, target)
    new = width - (len(narrow.coefs_[1]) if narrow else 0)
    weights, places = rng.normal(0, 4, (1, new)), rng.uniform(-1, 1, new)
    biases, top, offset = -weights[0] * places, np.zeros((new, 1)), np.zeros(1)
    if narrow:
        weights = np.hstack([narrow.coefs_[0], weights])
        biases = np.hstack([narrow.intercepts_[0], biases])
        top, offset = np.vstack([narrow.coefs_[1], top]), narrow.intercepts_[1]
    model.coefs_, model.intercepts_ = [weights, top], [biases, offset]
    return model.set_params(max_iter=500).fit(x, target)


def learn(activation):
    models = [None]
    for width in widths:
        starts = [widen(models[-1], width, activation, seed) for seed in range(3)]
        models.append(min(starts, key=lambda model: model.loss_))
    return models[1:]


models = {activation: learn(activation) for activation in ("tanh", "relu")}
errors = {
    kind: [np.sqrt(np.mean((model.predict(x) - target) ** 2)) for model in fits]
    for kind, fits in models.items()
}
for i, width in enumerate(widths):
    pieces = linear_regions(models["relu"][i], [-1.0], [1.0])
    print(
        f"width {width:3}: root mean squared error {errors['tanh'][i]:.4f} with tanh, "
        f"{errors['relu'][i]:.4f} with ReLU ({pieces} straight pieces)"
    )

# %%
# The fits, and how the error falls with the width.

figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
for ax, width in zip(axes, (2, 8, 32), strict=False):
    i = widths.index(width)
    ax.plot(x, target, color="black", linewidth=4, alpha=0.25, label="target")
    for kind, fits in models.items():
        ax.plot(x, fits[i].predict(x), label=kind)
    ax.set(title=f"{width} hidden units", xlabel="x", ylim=(-2.1, 2.1))
axes[0].legend()
for kind, error in errors.items():
    axes[3].loglog(widths, error, "o-", label=kind)
axes[3].set(title="error", xlabel="hidden units", ylabel="root mean squared error")
axes[3].set_xticks(widths, [str(width) for width in widths])
axes[3].minorticks_off()
axes[3].legend()
plt.show()
