"""
Linear regions: what depth can do
=================================

A network of rectifiers is linear in pieces. A layer can fold its input, so that whatever the next
layers draw appears once in each fold: the number of pieces may grow exponentially with depth, while
with one hidden layer it is at most one more, along a line, than there are units (Montúfar et al.,
2014). :func:`nbnet.inspection.linear_regions` counts the pieces exactly. (Goodfellow et al., 2016,
section 6.4.1.)
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PolyCollection
from sklearn.exceptions import ConvergenceWarning

from nbnet import MLPClassifier, MLPRegressor
from nbnet.inspection import linear_regions, linear_regions_in_plane

# %%
# Networks built to fold
# ----------------------
# A layer of w ReLUs can make a zigzag of w straight pieces between 0 and 1; the next layer makes
# its zigzag on each of them. All networks have at most 300 parameters, and one input.

warnings.simplefilter("ignore", ConvergenceWarning)


def size(n_inputs, width, depth):
    return (n_inputs + 1) * width + (depth - 1) * (width + 1) * width + width + 1


def widest(n_inputs, depth, budget=300):
    return max(w for w in range(1, budget) if size(n_inputs, w, depth) <= budget)


def zigzag(width, depth):
    x = np.linspace(0, 1, 10)[:, np.newaxis]
    model = MLPRegressor(hidden_layer_sizes=(width,) * depth, solver="lbfgs", max_iter=1)
    model.fit(x, x[:, 0])
    slopes = 2.0 * width * (-1.0) ** np.arange(width)[:, np.newaxis]
    slopes[0] /= 2
    kinks = np.arange(width) / width
    model.coefs_ = [np.ones((1, width)), *[slopes @ np.ones((1, width))] * (depth - 1), slopes]
    model.intercepts_ = [-kinks] * depth + [np.zeros(1)]
    return model


depths = (1, 2, 3, 4, 5, 6)
folds = {}
for depth in depths:
    width = widest(1, depth)
    folds[depth] = linear_regions(zigzag(width, depth), [0.0], [1.0])
    print(
        f"{depth} hidden layers of {width:3} units, {size(1, width, depth)} parameters: "
        f"{folds[depth]:6} pieces"
    )

figure, axes = plt.subplots(1, 3, figsize=(10, 2.4), sharey=True, layout="constrained")
x = np.linspace(0, 1, 4001)[:, np.newaxis]
for ax, depth in zip(axes, (1, 2, 3), strict=True):
    model = zigzag(4, depth)
    ax.plot(x, model.predict(x))
    count = linear_regions(model, [0.0], [1.0])
    ax.set(title=f"4 units a layer, {depth} deep: {count} pieces", xlabel="x")
plt.show()

# %%
# Networks as they come
# ---------------------
# Depth does not fold by itself. Networks with random weights have about as many pieces along a
# segment as there are units whose kink lies on it, and so have networks that were trained on most
# things (Hanin and Rolnick, "Complexity of linear regions in deep networks", 2019). Here at most
# 2000 parameters and 30 inputs: training makes the deep ones bend more, far less than they could.

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, (1500, 30))
y = np.sin(4 * X[:, 0]) * np.cos(4 * X[:, 1]) + 0.3 * np.sin(X.sum(axis=1))
segments = rng.uniform(-1, 1, (50, 2, 30))
means = {"untrained": [], "trained": []}
for depth in depths:
    model = MLPRegressor(
        hidden_layer_sizes=(widest(30, depth, 2000),) * depth,
        learning_rate_init=1e-12,
        max_iter=1,
        warm_start=True,
        random_state=0,
    ).fit(X, y)
    for counts in means.values():
        counts.append(np.mean([linear_regions(model, *segment) for segment in segments]))
        model.set_params(learning_rate_init=0.003, max_iter=100).fit(X, y)
    print(
        f"{depth} hidden layers of {widest(30, depth, 2000):2} units: "
        f"{means['untrained'][-1]:.1f} pieces before training, {means['trained'][-1]:.1f} after, "
        f"on average over {len(segments)} segments"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.semilogy(depths, list(folds.values()), "ko-")
left.set(title="built to fold, 300 parameters", xlabel="hidden layers", ylabel="pieces")
for label, counts in means.items():
    right.plot(depths, counts, "o-", label=label)
right.set(title="as they come, 2000 parameters", xlabel="hidden layers", ylim=0)
right.legend()
plt.show()

# %%
# In a plane
# ----------
# :func:`nbnet.inspection.linear_regions_in_plane` cuts a parallelogram into the regions themselves.
# Two spirals, learned by networks of about the same number of parameters. With one hidden layer
# every kink is a straight line across; deeper, lines bend where they meet those of earlier layers.
# Each region has a colour of its own; the boundary of the two classes is straight within each.

angle = np.sqrt(rng.uniform(0.02, 1, 1000)) * 3 * np.pi
label = rng.randint(2, size=1000)
radius = angle / (3 * np.pi) * np.where(label, 1, -1)
points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
points += rng.normal(scale=0.02, size=points.shape)
corners = np.array([[-1.1, -1.1], [1.1, -1.1], [-1.1, 1.1]])
ticks = np.linspace(-1.1, 1.1, 300)
grid = np.stack(np.meshgrid(ticks, ticks), axis=2)

figure, axes = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
for ax, depth in zip(axes, (1, 2, 3), strict=True):
    width = widest(2, depth, 500)
    model = MLPClassifier(
        hidden_layer_sizes=(width,) * depth,
        learning_rate_init=0.01,
        max_iter=300,
        tol=0,
        random_state=1,
    ).fit(points, label)
    count, polygons, regions = linear_regions_in_plane(model, *corners, return_polygons=True)
    polygons = [corners[0] + polygon @ (corners[1:] - corners[0]) for polygon in polygons]
    colors = rng.uniform(0.65, 1, (count, 3))[regions]
    ax.add_collection(PolyCollection(polygons, facecolor=colors, edgecolor=colors, linewidth=0.3))
    probability = model.predict_proba(grid.reshape(-1, 2))[:, 1].reshape(len(ticks), -1)
    ax.contour(ticks, ticks, probability, levels=[0.5], colors="black", linewidths=1.5)
    ax.scatter(*points.T, c=label, cmap="coolwarm", s=4)
    ax.set(title=f"{depth} × {width} units: {count} regions", aspect="equal", xticks=[], yticks=[])
    ax.set(xlim=corners[:2, 0], ylim=corners[::2, 1])
    print(
        f"{depth} hidden layers of {width:3} units, {size(2, width, depth)} parameters: "
        f"{count} regions, accuracy {model.score(points, label):.3f}"
    )
plt.show()
