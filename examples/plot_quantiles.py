"""
Several quantiles from one model
================================

One network learns five quantiles at once (``loss="quantile"``, with a sequence of levels), and
``predict_interval`` makes intervals of them. The data are real: 442 patients with diabetes; the
target is how far the disease has come after a year. What the intervals promise is counted on
patients that the network has not seen.
"""

# %%
# Five levels, held-out patients
# ------------------------------
#
# Five folds, so that every patient is held out once. The target is divided by 100 to have a spread
# near one, and `alpha` is large: quantiles far out can be overlearned, as widths can.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.metrics import d2_pinball_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbnet import MLPRegressor

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]

X, y = load_diabetes(return_X_y=True)
y = y / 100
folds = list(KFold(n_splits=5, shuffle=True, random_state=0).split(X))


def fit(train, **loss):
    mlp = MLPRegressor(
        **loss,
        hidden_layer_sizes=(8,),
        activation="softplus",
        alpha=10,
        solver="lbfgs",
        max_iter=2000,
        tol=1e-3,
        random_state=0,
    )
    return make_pipeline(StandardScaler(), mlp).fit(X[train], y[train])


models = [fit(train, loss="quantile", quantile=LEVELS) for train, _ in folds]
truth = np.concatenate([y[test] for _, test in folds])
quantiles = np.concatenate(
    [model.predict(X[test]) for model, (_, test) in zip(models, folds, strict=True)]
)
print(quantiles.shape, "quantiles, sorted in each row")
assert (np.diff(quantiles, axis=1) >= 0).all()

# %%
# A share of q of the targets should lie below the quantile of level q. D² is what the quantile loss
# has in place of R²: 0 for the best constant, 1 for a perfect prediction. A model of several levels
# has their mean as its score.

print("level  targets below     D²")
for i, level in enumerate(LEVELS):
    below, d2 = (
        np.mean(truth <= quantiles[:, i]),
        d2_pinball_score(truth, quantiles[:, i], alpha=level),
    )
    print(f"{level:5.2f}{below:15.1%}{d2:7.3f}")
    assert abs(below - level) < 0.05

# %%
# Intervals
# ---------
#
# Two levels that leave out the same share below and above are an interval:
# ``predict_interval(X, coverage=0.9)`` gives those of level 0.05 and 0.95. A model that learns the
# whole distribution, such as ``loss="gaussian"``, gives an interval of any coverage.


def intervals(models, coverage):
    parts = []
    for model, (_, test) in zip(models, folds, strict=True):
        scaler, mlp = model
        parts.append(mlp.predict_interval(scaler.transform(X[test]), coverage=coverage))
    return np.concatenate(parts)


gaussian = [fit(train, loss="gaussian") for train, _ in folds]
inside, widths = {}, {}
for name, fitted in {"quantiles": models, "gaussian": gaussian}.items():
    for coverage in (0.5, 0.9):
        low, high = intervals(fitted, coverage).T
        inside[name, coverage] = np.mean((low <= truth) & (truth <= high))
        widths[name, coverage] = np.mean(high - low)
        print(
            f"{name:10} asked for {coverage:.0%}: {inside[name, coverage]:.1%} inside, "
            f"mean width {widths[name, coverage]:.2f}"
        )
assert all(abs(share - aim) < 0.05 for (name, aim), share in inside.items() if name == "quantiles")

# %%
# Both hold what they promise at 90%. In the middle the Gaussian's intervals are too narrow: these
# errors are flatter than a normal distribution. Quantiles assume nothing of their shape.
#
# What was not learned cannot be asked for, and the error says what can:

try:
    intervals(models, 0.8)
except ValueError as error:
    print(error)

# %%
# All patients, ordered by their predicted median: the bands are far from symmetric about it.

order = np.argsort(quantiles[:, 2])
place = np.arange(len(y))
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
for (low, high), shade in zip(((0, 4), (1, 3)), (0.2, 0.35), strict=True):
    share = LEVELS[high] - LEVELS[low]
    label = f"{share:.0%} asked for, {inside['quantiles', round(share, 2)]:.0%} inside"
    ax.fill_between(
        place, *quantiles[order][:, [low, high]].T, color="tab:blue", alpha=shade, lw=0, label=label
    )
ax.plot(place, quantiles[order, 2], color="tab:blue", label="median")
outside = (truth < quantiles[:, 0]) | (truth > quantiles[:, 4])
for kind, style in ((~outside, "k."), (outside, "r.")):
    ax.plot(place[kind[order]], truth[order][kind[order]], style, markersize=3)
ax.set(xlabel="patients held out, by predicted median", ylabel="disease progression / 100")
ax.legend(loc="upper left")
figure.suptitle("Five quantiles from one network")
