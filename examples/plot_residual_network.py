"""
A residual network
==================

``architecture=`` takes any body that `nbnet.graph` can write down. Here: plain and residual stacks
of equal width and depth on handwritten digits. The deeper they are, the more the residual
connections matter. Whether depth is worth having at all is another question, answered as well.
"""

# %%
# The body of the network
# -----------------------
#
# `architecture` is a function from the input node to the last hidden node; the estimator adds the
# output layer. A residual block adds what two layers compute to what went into them (He et al.,
# 2016, "Deep residual learning for image recognition"). Without the sum the same layers, with the
# same number of parameters, are a plain stack.

import warnings
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from nbnet import MLPClassifier
from nbnet import graph as g
from nbnet.inspection import TrainingDisplay


def body(x, blocks, residual, width=32):
    h = g.relu(g.dense(x, width))
    for _ in range(blocks):
        branch = g.dense(g.relu(g.dense(h, width)), width)
        h = g.relu(g.add(h, branch) if residual else branch)
    return h


# all networks get 30 epochs, converged or not
warnings.filterwarnings("ignore", category=ConvergenceWarning)
parameters = {"learning_rate_init": 0.003, "batch_size": 64, "max_iter": 30, "random_state": 0}
X, y = load_digits(return_X_y=True)
X = X / 16

# %%
# A fitted model gives its network away, and a network draws itself. One block is enough to see how
# two paths leave a node and meet again in a sum.

model = MLPClassifier(architecture=partial(body, blocks=1, residual=True), **parameters).fit(X, y)
net, params = model.to_network()
net

# %%
# From 4 to 42 layers
# -------------------
#
# A body is a parameter like any other, so that a grid search can choose among bodies. Each is
# scored on the same three folds.

depths = [1, 2, 5, 10, 20]  # blocks
bodies = [partial(body, blocks=n, residual=r) for r in (False, True) for n in depths]
search = GridSearchCV(
    MLPClassifier(**parameters),
    {"architecture": [None, *bodies], "hidden_layer_sizes": [(32,)]},
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
).fit(X, y)
one_layer, *scores = search.cv_results_["mean_test_score"]
plain, residual = np.reshape(scores, (2, -1))

layers = [2 * n + 2 for n in depths]  # a first one, two a block, the output
print("layers   plain  residual")
for row in zip(layers, plain, residual, strict=True):
    print("{:6}{:8.3f}{:10.3f}".format(*row))
print(f"one hidden layer of 32 units: {one_layer:.3f}")
gain = residual - plain
assert gain.min() > -0.01, "a residual network is worse than the plain one"
assert gain[2:].min() > 0.01, "deep stacks gain nothing from residual connections"

figure, ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")
ax.plot(layers, plain, "o-", label="plain")
ax.plot(layers, residual, "s-", label="residual")
ax.axhline(one_layer, color="gray", linestyle=":", label="one hidden layer")
ax.set(xlabel="dense layers", ylabel="cross-validated accuracy", ylim=(0, 1.02))
ax.legend()

# %%
# Plain stacks get worse as they get deeper, and the deepest is no better than a guess. The residual
# ones stay near their best. But be honest: for images of 8 by 8 pixels one hidden layer is enough,
# and no depth beats it. The sums add no knowledge, they make deep networks trainable.

# %%
# What goes wrong
# ---------------
#
# Overfitting it is not: with 22 layers, the plain network does not even learn its training rows.

X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
models = {
    name: MLPClassifier(
        architecture=partial(body, blocks=10, residual=name == "residual"), **parameters
    ).fit(X_train, y_train)
    for name in ("plain", "residual")
}
TrainingDisplay.from_estimators(models, log_scale=True)
for name, model in models.items():
    accuracies = [model.score(*rows) for rows in ((X_train, y_train), (X_test, y_test))]
    print("{:9}accuracy {:.3f} in training, {:.3f} in the test".format(name, *accuracies))
