"""
Jacobian products
=================

Back-propagation multiplies a gradient by one Jacobian after another. `Network.vjp` does it for any
gradient you hand in, `Network.jacobian` gives the Jacobians themselves. First the chapter's
examples by numbers, then the Jacobian of a classifier of digits as a picture: which pixels matter.
(Goodfellow et al., 2016, section 6.5.2.)
"""

# %%
# The vector case
# ---------------
#
# :math:`y = W x` has the Jacobian :math:`\partial y / \partial x = W`, and
# :math:`\nabla_x z = (\partial y / \partial x)^T \nabla_y z` for any scalar z computed from y.
# In nbnet a sample is a *row*, so the layer that computes W x holds :math:`W^T`.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbnet import MLPClassifier
from nbnet import graph as g

np.set_printoptions(precision=3, suppress=True)
rng = np.random.default_rng(0)

W = rng.normal(size=(2, 3))
x, at_y = rng.normal(size=3), rng.normal(size=2)  # at_y is the gradient of z with respect to y
net = g.Network(g.dense(g.input(3), 2))
params = net.pack([W.T], [np.zeros(2)])
(J,) = net.jacobian(params, x[np.newaxis])
_, (at_x,) = net.vjp(params, x[np.newaxis], at_y[np.newaxis])
print("dy/dx =", *J, sep="\n  ")
print("W =", *W, sep="\n  ")
print("gradient at x:", at_x, "  W^T times gradient at y:", W.T @ at_y)
assert np.allclose(J, W)
assert np.allclose(at_x, W.T @ at_y)

# %%
# The matrix case
# ---------------
#
# With :math:`Y = X W` each row of Y depends on the row of X beside it, and
# :math:`\nabla_X z = (\nabla_Y z) W^T`. This is a dense layer over a batch. The same pass gives
# :math:`\nabla_W z = X^T \nabla_Y z`.

X, at_Y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
V = rng.normal(size=(3, 2))
params = net.pack([V], [np.zeros(2)])
at_params, at_X = net.vjp(params, X, at_Y)
(at_V,), (at_bias,) = net.unpack(at_params)
for name, actual, expected in (
    ("at X, (grad Y) W^T", at_X, at_Y @ V.T),
    ("at W, X^T (grad Y)", at_V, X.T @ at_Y),
    ("at b, sum of rows ", at_bias, at_Y.sum(axis=0)),
):
    print(f"{name}: shape {actual.shape}, difference {np.abs(actual - expected).max():.1e}")
    assert np.allclose(actual, expected)

# %%
# With :math:`Y = W X` the *columns* are samples, and :math:`\nabla_X z = W^T \nabla_Y z`. Turn both
# matrices over and it is the case above.

columns, at_columns = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
_, at_rows = net.vjp(net.pack([W.T], [np.zeros(2)]), columns.T, at_columns.T)
difference = np.abs(at_rows.T - W.T @ at_columns).max()
print(f"at X, W^T (grad Y): shape {at_rows.T.shape}, difference {difference:.1e}")
assert np.allclose(at_rows.T, W.T @ at_columns)

# %%
# Any network
# -----------
#
# In general :math:`\nabla_X z = \sum_j (\partial z / \partial Y_j) \nabla_X Y_j`. The Jacobians
# hold all the :math:`\nabla_X Y_j`, one backward pass for each output; the product takes a single
# pass and never forms them. That is why training uses products.

x = g.input(3)
h = g.tanh(g.dense(x, 5))
deep = g.Network(g.dense(g.concat(h, g.maxout(g.multiply(h, h), 4)), 2))
params = deep.init(random_state=0)
J, (_, at_X) = deep.jacobian(params, X), deep.vjp(params, X, at_Y)
summed = np.einsum("nr,nri->ni", at_Y, J)
print(f"Jacobians {J.shape}, product {at_X.shape}, difference {np.abs(summed - at_X).max():.1e}")
assert np.allclose(summed, at_X)

# %%
# Which pixels matter
# -------------------
#
# The Jacobian of a classifier's raw outputs with respect to its input says how each class's score
# moves with each pixel. Rows below: a digit, the Jacobian of the score of its most likely class and
# that of the second most likely one. More ink on a red pixel speaks for the class, on a blue one
# against it.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
model = MLPClassifier(
    hidden_layer_sizes=(64,), alpha=1.0, max_iter=60, learning_rate_init=0.01, random_state=0
)
model.fit(X_train, y_train)
net, params = model.to_network()
shown = np.array([np.flatnonzero(y_test == digit)[0] for digit in (0, 1, 3, 4, 7, 8)])
J = net.jacobian(params, X_test[shown])
scores = net.forward(params, X_test[shown])
first, second = np.argsort(-scores, axis=1)[:, :2].T
print(f"accuracy {model.score(X_test, y_test):.3f}; Jacobians {J.shape}")

figure, axes = plt.subplots(3, len(shown), figsize=(9, 5), layout="constrained")
reach = np.abs(J).max()
for i, column in enumerate(axes.T):
    column[0].imshow(X_test[shown[i]].reshape(8, 8), cmap="gray_r")
    for ax, label in zip(column[1:], (first[i], second[i]), strict=True):
        image = ax.imshow(J[i, label].reshape(8, 8), cmap="RdBu_r", vmin=-reach, vmax=reach)
        ax.set_title(f"score of {label}", fontsize=9)
    column[0].set_title(f"a {y_test[shown[i]]}", fontsize=9)
    for ax in column:
        ax.set(xticks=[], yticks=[])
figure.colorbar(image, ax=axes[1:], label="d score / d pixel", shrink=0.8)
plt.show()

# %%
# A rectifier network is linear between its kinks, so the Jacobian predicts exactly what a small
# change of the image does; the decision flips where the scores of the two classes meet. Move each
# digit along the gradient of (second - first), the shortest way for a linear function, by a little
# more than the Jacobian says is needed.

gap = np.zeros_like(scores)
rows = np.arange(len(shown))
gap[rows, second], gap[rows, first] = 1.0, -1.0
_, direction = net.vjp(params, X_test[shown], gap)
missing = scores[rows, first] - scores[rows, second]
needed = missing / (direction**2).sum(axis=1)

tiny = 1e-6 * direction
change = net.forward(params, X_test[shown] + tiny) - scores
predicted = np.einsum("nri,ni->nr", J, tiny)
print(f"a tiny step: change {np.abs(change).max():.1e}, predicted with an error of "
      f"{np.abs(change - predicted).max():.1e}")  # fmt: skip
moved = X_test[shown] + 1.05 * needed[:, np.newaxis] * direction
for i, label in enumerate(model.predict(moved)):
    length, size = np.linalg.norm(moved[i] - X_test[shown[i]]), np.linalg.norm(X_test[shown[i]])
    print(
        f"a {first[i]} of norm {size:.1f}, moved by {length:.2f} towards {second[i]}: now a {label}"
    )
