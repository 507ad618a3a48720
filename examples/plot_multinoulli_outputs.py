r"""
Multinoulli outputs: softmax, and the log that undoes it
========================================================

The softmax is a soft argmax, its logarithm keeps the cost linear in a logit that is far off, so
that no confident mistake goes unpunished, and one logit may be pinned at zero without loss: with
two classes that is the sigmoid. (Goodfellow et al., 2016, section 6.2.2.3.)
"""

# %%
# Soft argmax
# -----------
#
# Three logits, of which one moves. The softmax goes over from one class to another where the
# argmax jumps, and the farther apart the logits are scaled, the more it looks like it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nbnet import MLPClassifier
from nbnet import graph as g

logits = g.Network(g.input(3, name="z"))  # its raw outputs are its rows
nothing = np.empty(0, dtype=np.float32)  # it has no parameters


def costs(z, y, loss="softmax_cross_entropy"):
    """Cost of each row of z for the class y, and its gradient."""
    net = g.Network(g.input(z.shape[1], name="z"))
    (gradient,) = net.gradients(nothing, z, np.full(len(z), y), loss=loss, wrt=["z"])
    each = [net.loss_and_gradient(nothing, row[None], [y], loss=loss)[0] for row in z]
    return np.array(each), gradient * len(z)  # the loss is a mean over rows


moving = np.linspace(-8, 8, 401, dtype=np.float32)
z = np.stack([np.zeros_like(moving), moving, np.full_like(moving, 2.0)], axis=1)
probabilities = logits.forward(nothing, z, loss="softmax_cross_entropy")
sharper = logits.forward(nothing, 10 * z, loss="softmax_cross_entropy")

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for k, (name, colour) in enumerate(
    [("fixed at 0", "tab:green"), ("moving", "tab:blue"), ("fixed at 2", "tab:orange")]
):
    left.plot(moving, probabilities[:, k], color=colour, lw=2, label=f"logit {name}")
    left.plot(moving, sharper[:, k], color=colour, lw=1, ls="--")
left.plot([], [], color="0.4", lw=1, ls="--", label="all logits times 10")
left.plot(moving, z.argmax(axis=1) == 1, color="0.6", lw=5, alpha=0.4, zorder=0, label="argmax")
left.set(xlabel="the moving logit", ylabel="probability", title="Softmax and argmax")
left.legend(frameon=False, loc="center left", fontsize=9)

far = np.linspace(0, 150, 301, dtype=np.float32)
wrong = np.stack([np.zeros_like(far), far, np.zeros_like(far)], axis=1)
stable, gradient = costs(wrong, 0)
p = logits.forward(nothing, wrong, loss="softmax_cross_entropy")[:, 0]
with np.errstate(divide="ignore"):
    naive = -np.log(p)  # of a probability that has been rounded
right.plot(far, stable, color="tab:blue", lw=2, label="cost, from the logits")
right.plot(far, naive, color="tab:red", lw=4, alpha=0.4, label="−log of the probability, float32")
end = far[np.isfinite(naive)][-1], naive[np.isfinite(naive)][-1]
right.plot(*end, "x", color="tab:red", ms=9, mew=2)
right.annotate("infinite from here", end, (-125, 0), textcoords="offset points", color="tab:red")
right.set(xlabel="logit of a wrong class", ylabel="cost", title="A confident mistake")
right.legend(frameon=False)
plt.show()

# %%
# The log undoes the saturation
# -----------------------------
#
# The probability of the right class saturates, and in float32 is 0 from a difference of about 100
# on; its logarithm would be infinite there. Yet
# :math:`-\log \mathrm{softmax}(z)_i = -z_i + \log \sum_j e^{z_j}` grows on by 1 for each unit of
# the wrong logit, and the gradient stays -1 and 1.

print(f"{'wrong logit':>12}{'probability':>13}{'its -log':>10}{'cost':>8}   gradient")
for at in (0, 5, 50, 100, 1000):
    row = np.array([[0, at, 0]], dtype=np.float32)
    p = logits.forward(nothing, row, loss="softmax_cross_entropy")[0, 0]
    (cost,), (gradient,) = costs(row, 0)
    with np.errstate(divide="ignore"):
        print(f"{at:12}{p:13.3g}{-np.log(p):10.2f}{cost:8.2f}   {gradient.round(3)}")
assert cost == 1000

# %%
# One logit pinned
# ----------------
#
# A number added to all logits changes nothing, so one may be fixed at 0 and K - 1 raw outputs are
# enough (``pinned_softmax_cross_entropy``). With two classes what is left of the softmax is the
# sigmoid, in cost and gradient.

z = np.linspace(-8, 8, 5, dtype=np.float32)[:, np.newaxis]
pinned, at_pinned = costs(z, 1, "pinned_softmax_cross_entropy")
one, at_one = costs(z, 1, "sigmoid_cross_entropy")
print(f"{'z':>5}{'pinned softmax':>18}{'sigmoid':>12}")
for at, a, b in zip(z[:, 0], pinned, one, strict=True):
    print(f"{at:5.0f}{a:18.6g}{b:12.6g}")
print(f"largest difference of the gradients: {np.abs(at_pinned - at_one).max():.1e}")

# %%
# Both learn alike
# ----------------
#
# On the digits, from the same seed. ``loss="pinned_log_loss"`` has nine raw outputs for ten classes
# and asks for ten probabilities all the same. Which of the two one takes hardly matters.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for loss, colour in (("log_loss", "tab:blue"), ("pinned_log_loss", "tab:orange")):
    model = MLPClassifier(
        hidden_layer_sizes=(50,), loss=loss, learning_rate_init=0.003, random_state=0, max_iter=400
    ).fit(X_train, y_train)
    ax.plot(np.arange(1, model.n_iter_ + 1), model.loss_curve_, color=colour, lw=2, label=loss)
    print(
        f"{loss:16} raw outputs {model.coefs_[-1].shape[1]:3}, "
        f"probabilities {model.predict_proba(X_test).shape[1]:3}, "
        f"test accuracy {model.score(X_test, y_test):.3f}"
    )
ax.set(xlabel="epoch", ylabel="training loss", title="Ten digits", xscale="log", yscale="log")
ax.legend(frameon=False)
plt.show()
