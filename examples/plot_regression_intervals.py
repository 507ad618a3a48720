"""
Regression with intervals
=========================

A prediction without its uncertainty is half an answer. Three ways to intervals that should hold 90%
of the truth, on real data (442 patients with diabetes; the target is how far the disease has come
after a year): a constant width, a width that the network learns (``loss="gaussian"``), and learned
quantiles (``loss="quantile"``). All are judged on patients that they have not seen.
"""

# %%
# Three models of one size
# ------------------------
#
# Each gives the 5%, 50% and 95% quantiles for all rows of `X_test`.
#
# - *Constant width*: the network learns the mean, and the spread of its training residuals counts
#   for everybody.
# - *Gaussian*: it learns two numbers per row, the mean and the logarithm of the standard deviation;
#   ``predict(X, return_std=True)`` returns both.
# - *Quantile*: nothing is assumed of the shape of the noise, but each quantile needs a model.
#
# A width can be overlearned too: on rows that a network knows by heart it pays to be far too sure.
# So `alpha` is large here. (For each loss, it is the best of the few values that were tried.)

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_pinball_loss
from sklearn.model_selection import RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbnet import MLPRegressor

LEVELS = [0.05, 0.5, 0.95]


def network(**parameters):
    mlp = MLPRegressor(
        hidden_layer_sizes=(8,),
        activation="softplus",
        solver="lbfgs",
        max_iter=2000,
        tol=1e-3,
        random_state=0,
        **parameters,
    )
    return make_pipeline(StandardScaler(), mlp)


def constant_width(X_train, y_train, X_test):
    model = network(alpha=20).fit(X_train, y_train)
    mean = model.predict(X_test)
    return mean, np.full(len(mean), np.std(y_train - model.predict(X_train)))


def gaussian(X_train, y_train, X_test):
    model = network(loss="gaussian", alpha=20).fit(X_train, y_train)
    return model.predict(X_test, return_std=True)


def quantile(X_train, y_train, X_test):
    models = [network(loss="quantile", quantile=level, alpha=3) for level in LEVELS]
    return np.column_stack([model.fit(X_train, y_train).predict(X_test) for model in models])


# %%
# Judged on patients held out
# ---------------------------
#
# Five folds, twice, so that every patient is held out two times. The target is divided by 100 to
# have a spread near one.

X, y = load_diabetes(return_X_y=True)
y = y / 100
folds = list(RepeatedKFold(n_splits=5, n_repeats=2, random_state=0).split(X))
truth = np.concatenate([y[test] for _, test in folds])
quantiles, log_losses = {}, {}
for name, predict in {"constant width": constant_width, "gaussian": gaussian}.items():
    mean, std = np.hstack([predict(X[train], y[train], X[test]) for train, test in folds])
    quantiles[name] = norm.ppf(LEVELS, mean[:, None], std[:, None])
    log_losses[name] = -norm.logpdf(truth, mean, std)
quantiles["quantile"] = np.concatenate(
    [quantile(X[train], y[train], X[test]) for train, test in folds]
)

# %%
# The pinball loss is what a quantile is to minimise, as the squared error is for a mean: the
# average over the three levels judges centre and both ends together.

pinball = {
    name: np.mean([mean_pinball_loss(truth, z, alpha=q) for q, z in zip(LEVELS, Q.T, strict=True)])
    for name, Q in quantiles.items()
}
covered = {name: (Q[:, 0] <= truth) & (truth <= Q[:, 2]) for name, Q in quantiles.items()}
print("                pinball loss  negative log-likelihood  coverage  mean width")
for name, Q in quantiles.items():
    nll = f"{log_losses[name].mean():.4f}" if name in log_losses else ""
    coverage, width = covered[name].mean(), (Q[:, 2] - Q[:, 0]).mean()
    print(f"{name:14}{pinball[name]:14.4f}{nll:>25}{coverage:10.1%}{width:12.3f}")
fold = np.repeat(np.arange(len(folds)), [len(test) for _, test in folds])
gain = log_losses["constant width"] - log_losses["gaussian"]
better = sum(gain[fold == i].mean() > 0 for i in range(len(folds)))
print(f"the gaussian's likelihood is the higher one in {better} of {len(folds)} folds")
assert log_losses["gaussian"].mean() < log_losses["constant width"].mean()
assert max(pinball["gaussian"], pinball["quantile"]) < pinball["constant width"]

# %%
# What a constant width hides
# ---------------------------
#
# Coverage over all patients is near 90% for all three; a little below, for training rows look
# easier than new ones are. But a width made for the average patient suits nobody. For those who
# are predicted to do well it is far too wide, down to values below 0 that do not exist; for those
# at the other end it is too narrow.

figure, axes = plt.subplots(1, 3, figsize=(10, 3.8), sharex=True, sharey=True, layout="constrained")
once = slice(len(y))  # the first of the two repetitions: each patient once
for ax, (name, Q) in zip(axes, quantiles.items(), strict=True):
    low, middle, high = Q[once].T
    inside = covered[name][once]
    ax.vlines(middle, low, high, color="tab:blue", alpha=0.15)
    ax.plot(middle[inside], truth[once][inside], "k.", markersize=3, label="inside")
    ax.plot(middle[~inside], truth[once][~inside], "r.", markersize=5, label="outside")
    ax.set(title=name, xlabel="predicted median")
axes[0].set_ylabel("disease progression / 100")
axes[0].legend(loc="upper left")
figure.suptitle("90% intervals for patients held out")

# %%
# In numbers: the patients in three groups of one size, by predicted median.

thirds = {name: np.argsort(np.argsort(Q[:, 1])) * 3 // len(Q) for name, Q in quantiles.items()}
by_third = {
    name: [covered[name][thirds[name] == third].mean() for third in range(3)] for name in quantiles
}
figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for offset, (name, coverage) in zip((-0.25, 0.0, 0.25), by_third.items(), strict=True):
    print(f"{name:14}" + "".join(f"{share:8.1%}" for share in coverage))
    ax.bar(np.arange(3) + offset, coverage, width=0.22, label=name)
ax.axhline(0.9, color="black", linestyle=":", label="aim")
ax.set_xticks(range(3), ["lowest", "middle", "highest"])
ax.set(xlabel="third by predicted median", ylabel="share inside the interval", ylim=(0.7, 1))
ax.legend(ncols=2)

miss = {name: np.abs(np.array(coverage) - 0.9).max() for name, coverage in by_third.items()}
assert max(miss["gaussian"], miss["quantile"]) < miss["constant width"]

# %%
# All this is a gain in honesty more than in precision: the centre of the intervals is little better
# than a linear model's, for 442 rows of ten noisy numbers do not hold much more.

linear = [make_pipeline(StandardScaler(), Ridge()).fit(X[a], y[a]).predict(X[b]) for a, b in folds]
errors = {name: mean_absolute_error(truth, Q[:, 1]) for name, Q in quantiles.items()}
errors["ridge regression"] = mean_absolute_error(truth, np.concatenate(linear))
print("mean absolute error: " + ", ".join(f"{name} {e:.3f}" for name, e in errors.items()))
