"""
Computational graphs, drawn
===========================

A network is a graph: nodes are variables, edges say what is computed from what. nbnet draws the
graph it computes with, forward and on the way back, and the whole cost with weight decay. Each
formula in a picture is checked here by numbers. (Goodfellow et al., 2016, section 6.5.)
"""

# %%
# Forward
# -------
#
# A residual block: the first hidden layer is read twice. In a notebook a network shows itself:
# every node with its shape (N samples), every layer with its parameters, and P, their number.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from nbnet import MLPRegressor
from nbnet import graph as g

x = g.input(8, name="x")
h = g.relu(g.dense(x, 16, name="z"), name="h")
branch = g.dense(h, 16, name="branch")
residual = g.add(h, branch, name="sum")
net = g.Network(g.dense(g.relu(residual), 1, name="output"))
net

# %%
# Backward
# --------
#
# From the cost J, gradients flow against the data. Each edge multiplies by the Jacobian of its
# operation: the label is that product, where G is the gradient at the box that the arrow leaves. A
# dense layer also leaves behind the gradients of its own weights and bias.

net.to_svg("backward")

# %%
# Two arrows lead into ``h``, so two products are summed: G itself through the sum, and
# :math:`G W^T` through the branch. `Network.gradients` gives the gradient at any node.

rng = np.random.default_rng(0)
params = net.init(random_state=0)
X, y = rng.normal(size=(5, 8)), rng.normal(size=(5, 1))
at_h, at_branch, at_sum = net.gradients(params, X, y, wrt=["h", "branch", "sum"])
(_, W_branch, _), _ = net.unpack(params)
by_sum, by_branch = at_sum, at_branch @ W_branch.T
print(f"largest entry of the gradient at h: {np.abs(at_h).max():.4f}")
print(f"largest difference to the sum of paths: {np.abs(at_h - by_sum - by_branch).max():.1e}")

# %%
# Training
# --------
#
# The chapter's multilayer perceptron with weight decay (section 6.5.7). Parameters are nodes of
# their own here, and from J **two paths** lead to each weight matrix: one by the loss, through the
# layers, the other by the penalty :math:`\lambda \sum_{ij} W_{ij}^2`. A bias has only the first.

mlp = g.Network(g.dense(g.relu(g.dense(g.input(10), 12)), 1))
mlp.to_svg("training")

# %%
# What the two paths bring to a weight is added:
# :math:`\nabla_{W^{(1)}} J = X^T G + 2 \lambda W^{(1)}`. nbnet's `alpha` is the chapter's
# :math:`\lambda` up to a factor, :math:`\lambda = \mathrm{alpha} / (2N)`. Before training both
# parts are what chance made them. A minimum of J is where they cancel in each single weight: the
# data pull as hard as the penalty holds.

X, y = load_diabetes(return_X_y=True)
X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
alpha, N = 30.0, len(X)
model = MLPRegressor(
    hidden_layer_sizes=(12,),
    activation="tanh",  # without kinks the minimum is found to many digits
    solver="lbfgs",
    alpha=alpha,
    tol=1e-9,
    max_iter=5000,
    random_state=0,
)
model.fit(X, y)
fitted, learned = model.to_network()


def two_paths(params):
    """Gradient of the first layer's weights by the loss and by the penalty."""
    (G,) = fitted.gradients(params, X, y, wrt=["z1"])
    W = fitted.unpack(params)[0][0]
    return X.T @ G, 2 * (alpha / (2 * N)) * W


figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, title, at in zip(
    axes,
    ("before training", "after training"),
    (fitted.init(random_state=0), learned),
    strict=True,
):
    by_loss, by_penalty = two_paths(at)
    _, gradient = fitted.loss_and_gradient(at, X, y, alpha=alpha)
    at_W = fitted.unpack(gradient)[0][0]
    assert np.allclose(by_loss + by_penalty, at_W, rtol=1e-10, atol=1e-12)
    print(
        f"{title}: largest part {np.abs(by_loss).max():.1e}, largest sum {np.abs(at_W).max():.1e}"
    )
    reach = 1.1 * max(np.abs(by_loss).max(), np.abs(by_penalty).max())
    ax.axline((0, 0), slope=-1, color="0.6", linestyle=":")
    ax.scatter(by_loss, by_penalty, s=16)
    ax.set(title=title, xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel="by the loss, $X^T G$", ylabel=r"by the penalty, $2 \lambda W$")
figure.suptitle(r"The two parts of $\nabla_{W^{(1)}} J$, a point for each weight")
plt.show()

# %%
# For other places
# ----------------
#
# `Network.to_mermaid` writes what Markdown on GitHub and GitLab draws, `Network.to_dot` what
# Graphviz reads; both know the same views.

print(net.to_mermaid())
