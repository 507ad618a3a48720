"""
A loss of your own
==================

Mistakes rarely cost the same on both sides. Take a hospital that plans care by the predicted course
of a disease: care that is planned and not needed is a waste, but care that is needed and missing
costs four times as much. Such a cost can be learned as it is, with `nbnet.CustomLoss`. The data are
real: 442 patients with diabetes, and how far the disease has come after a year.
"""

# %%
# The cost, as a function
# -----------------------
#
# Of one patient: the raw outputs of the network, the targets, and room for the gradient, which the
# function fills. It is plain Python; numba compiles it when it is first used. Before the first step
# of a fit nbnet compares the gradient with finite differences, so a slip in it is an error.

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_diabetes
from sklearn.model_selection import RepeatedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbnet import CustomLoss, MLPRegressor

TOO_LITTLE = 4.0  # what a unit too little costs, where one too much costs 1


def cost(z, y, gradient):
    too_much = z[0] - y[0]
    weight = TOO_LITTLE if too_much < 0 else 1.0
    gradient[0] = weight * too_much
    return weight * too_much**2 / 2


def mean_cost(prediction, truth):
    too_much = prediction - truth
    return np.mean(np.where(too_much < 0, TOO_LITTLE, 1.0) * too_much**2 / 2)


# %%
# Three ways to plan
# ------------------
#
# - *Mean*: learn the mean with the squared error, and plan for that.
# - *Mean and margin*: add one margin for all, the one that is best for the patients one has learned
#   from.
# - *Own loss*: learn what costs least.
#
# Five folds, twice: every patient is held out two times. The target is divided by 100 to have a
# spread near one.

X, y = load_diabetes(return_X_y=True)
y = y / 100
own = CustomLoss(cost)


def network(loss):
    mlp = MLPRegressor(
        loss, (8,), "softplus", solver="lbfgs", alpha=20, max_iter=1000, random_state=0
    )
    return make_pipeline(StandardScaler(), mlp)


costs = {"mean": [], "mean and margin": [], "own loss": []}
planned = {name: np.zeros(len(y)) for name in costs}
for train, test in RepeatedKFold(n_splits=5, n_repeats=2, random_state=0).split(X):
    mean = network("squared_error").fit(X[train], y[train])
    learned = mean.predict(X[train])
    margin = minimize_scalar(lambda m: mean_cost(learned + m, y[train])).x  # noqa: B023
    plans = {
        "mean": mean.predict(X[test]),
        "mean and margin": mean.predict(X[test]) + margin,
        "own loss": network(own).fit(X[train], y[train]).predict(X[test]),
    }
    for name, plan in plans.items():
        planned[name][test] = plan
        costs[name].append(mean_cost(plan, y[test]))

for name, each in costs.items():
    print(f"{name:16} mean cost {np.mean(each):.3f}")
lower = np.sum(np.array(costs["own loss"]) < costs["mean and margin"])
print(f"the own loss costs less than mean and margin in {lower} of {len(costs['mean'])} folds")
assert np.mean(costs["own loss"]) < 0.9 * np.mean(costs["mean"])

# %%
# What it has learned
# -------------------
#
# Most is gained by planning for more than the mean, and one margin for all does that. The rest is
# in where the margin goes: those who are predicted to do well get half the margin of those at the
# other end, whose course is harder to tell.

margins = planned["own loss"] - planned["mean"]
constant = np.mean(planned["mean and margin"] - planned["mean"])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, color in (("mean", "tab:gray"), ("own loss", "tab:blue")):
    short = np.mean(planned[name] < y)
    label = f"{name}: too little for {short:.0%}"
    left.plot(planned[name], y, ".", color=color, markersize=4, label=label)
ends = [0.2, 3.5]
left.plot(ends, ends, color="black", linewidth=0.8)
left.set(xlabel="planned", ylabel="needed", title="Patients held out", ylim=(0, 4.4))
left.legend(loc="upper left")
right.plot(planned["mean"], margins, ".", color="tab:blue", markersize=4, label="own loss")
right.axhline(constant, color="black", linestyle=":", label="the same for all")
right.set(xlabel="predicted mean", ylabel="planned above the mean", title="The margin")
right.legend(loc="upper left")
