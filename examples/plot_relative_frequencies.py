r"""
A network as a table of relative frequencies
============================================

Where the same inputs come back again and again, a network with enough capacity learns, for each of
them, the share of each class among its rows: the predicted probability of class i tends
to the number of rows with input x and class i, divided by the number of rows with input x.
(Goodfellow et al., 2016, section 6.2.2.3, equation 6.31.)
"""

# %%
# Counts
# ------
#
# Visitors of a restaurant: what day it is and what they order. Only these counts matter.

import matplotlib.pyplot as plt
import numpy as np

from nbnet import MLPClassifier

DAYS = np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"])
DISHES = np.array(["soup", "fish", "pasta", "salad"])
counts = np.array(
    [
        [30, 5, 12, 3],
        [21, 9, 20, 10],
        [8, 16, 25, 11],
        [4, 8, 40, 28],
        [2, 61, 18, 19],
        [14, 14, 14, 58],
    ]
)
frequencies = counts / counts.sum(axis=1, keepdims=True)

day, dish = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
X, y = np.eye(len(DAYS))[day], DISHES[dish]  # a row for each visitor
print(f"{len(X)} rows, {len(np.unique(X, axis=0))} different inputs")

# %%
# Learned
# -------
#
# Without a penalty, and trained to the end.

model = MLPClassifier(
    hidden_layer_sizes=(10,),
    activation="tanh",
    solver="lbfgs",
    alpha=0,
    tol=1e-6,
    max_iter=1000,
    random_state=0,
).fit(X, y)
columns = np.searchsorted(model.classes_, DISHES)  # classes are sorted, dishes are not
probabilities = model.predict_proba(np.eye(len(DAYS)))[:, columns]
largest = np.abs(probabilities - frequencies).max()
print("frequencies and predicted probabilities")
print("     " + "".join(f"{name:>16}" for name in DISHES))
for name, row, learned in zip(DAYS, frequencies, probabilities, strict=True):
    print(f"{name:5}" + "".join(f"{a:8.3f} {b:7.3f}" for a, b in zip(row, learned, strict=True)))
print(f"largest difference: {largest:.1e}")
assert largest < 1e-3

# %%
# The cost can sink no lower than the entropy of the frequencies, and that is where it ends.

entropy = -np.log(frequencies[day, dish]).mean()
print(f"entropy {entropy:.6f}, loss {model.loss_:.6f}")

# %%
# A penalty stands in the way
# ---------------------------
#
# Weight decay draws the days toward each other: the probabilities leave the table for the shares of
# all visitors, the more so the larger alpha is. As alpha goes to zero the table comes back.

alphas = np.geomspace(1e-4, 1e2, 13)
differences = []
for alpha in alphas:
    held = MLPClassifier(
        hidden_layer_sizes=(10,),
        activation="tanh",
        solver="lbfgs",
        alpha=alpha,
        tol=1e-5,
        max_iter=1000,
        random_state=0,
    ).fit(X, y)
    learned = held.predict_proba(np.eye(len(DAYS)))[:, columns]
    differences.append(np.abs(learned - frequencies).max())
for alpha, difference in zip(alphas[::4], differences[::4], strict=True):
    print(f"alpha = {alpha:<8g} largest difference {difference:.1e}")

COLOURS = ["tab:orange", "tab:blue", "tab:red", "tab:green"]
fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[1.7, 1]
)
place = np.arange(len(DAYS))
for k, (name, colour) in enumerate(zip(DISHES, COLOURS, strict=True)):
    at = place + 0.2 * (k - 1.5)
    left.bar(at, frequencies[:, k], 0.18, color=colour, alpha=0.35, label=name)
    left.plot(at, probabilities[:, k], "o", color=colour, ms=5)
left.plot([], [], "o", color="0.4", ms=5, label="predicted")
left.bar(0, 0, color="0.8", label="frequency")
left.set_xticks(place, DAYS)
left.set(ylabel="share of the day's orders", title="Frequencies and probabilities", ylim=(0, 0.8))
left.legend(frameon=False, ncols=3, loc="upper left")
right.loglog(alphas, differences, "o-", color="tab:blue", ms=4)
right.axhline(largest, color="0.4", ls="--", lw=1)
right.text(alphas[-1], largest * 1.3, "alpha = 0", ha="right", color="0.4")
right.set(xlabel="alpha", ylabel="largest difference", title="With a penalty")
plt.show()
