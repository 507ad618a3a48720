"""
Gaussian outputs: how sure is the network?
==========================================

A network can say not only what it expects but how far the truth will scatter around that, and where
noise depends on x this beats any constant variance on data it has not seen. `MLPRegressor` learns a
variance for each target, a full covariance matrix, or the scale of a Laplace distribution.
(Goodfellow et al., 2016, sections 6.2.2.1 and 6.2.2.4.)
"""

# %%
# A variance that depends on x
# ----------------------------
#
# With ``loss="gaussian"`` the network has two raw outputs, the mean :math:`\mu` and
# :math:`a = \log \sigma`, and minimises
# :math:`-\log N(y; \mu, \sigma^2) = \log \sigma + (y - \mu)^2 / 2\sigma^2 + \text{constant}`. Any
# real a is a valid scale. The noise below grows to the right.

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from nbnet import MLPRegressor

rng = np.random.default_rng(0)
SETTINGS = {
    "hidden_layer_sizes": (30,),
    "activation": "tanh",
    "alpha": 0,
    "learning_rate_init": 0.002,
    "tol": 1e-5,
    "n_iter_no_change": 30,
    "batch_size": 400,
    "max_iter": 2000,
    "random_state": 0,
}


def sigma(x):
    """Standard deviation of the noise, 0.1 to 0.9."""
    return 0.1 + 0.05 * (x + 2) ** 2


def draw(n, noise):
    """Inputs and targets; the noise has unit variance."""
    x = rng.uniform(-2, 2, n)
    return x[:, None], np.sin(2 * x) + sigma(x) * noise(size=n)


X, y = draw(4000, rng.normal)
X_new, y_new = draw(2000, rng.normal)

model = MLPRegressor(loss="gaussian", **SETTINGS).fit(X, y)
constant = MLPRegressor(loss="squared_error", **SETTINGS).fit(X, y)
constant_std = np.std(y - constant.predict(X))

# %%
# The yardstick is the negative log-likelihood of new data (nats for each row, less is better). The
# model with one variance for all pays where it is too sure and where it is too timid.

mean, std = model.predict(X_new, return_std=True)
costs = {
    "constant variance": -stats.norm.logpdf(y_new, constant.predict(X_new), constant_std).mean(),
    "learned variance": -stats.norm.logpdf(y_new, mean, std).mean(),
    "the truth": -stats.norm.logpdf(y_new, np.sin(2 * X_new[:, 0]), sigma(X_new[:, 0])).mean(),
}
for name, cost in costs.items():
    print(f"{name:18}{cost:8.3f}")
assert costs["learned variance"] < costs["constant variance"]

grid = np.linspace(-2, 2, 200)
mean, std = model.predict(grid[:, None], return_std=True)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
left.plot(X_new[::2, 0], y_new[::2], ".", ms=2.5, color="0.75")
left.plot(grid, mean, color="tab:blue", lw=2, label="mean")
for k, opacity in ((1, 0.35), (2, 0.18)):
    left.fill_between(
        grid, mean - k * std, mean + k * std, alpha=opacity, lw=0, label=f"± {k} std", color="C0"
    )
left.set(xlabel="x", ylabel="y", title="New data and what was predicted", ylim=(-3, 3.2))
left.legend(loc="upper left", frameon=False, ncols=3)
right.plot(grid, sigma(grid), "--", color="0.3", label="true")
right.plot(grid, std, color="tab:blue", lw=2, label="learned")
right.axhline(constant_std, color="tab:red", label="constant")
right.set(xlabel="x", ylabel="standard deviation", title="Standard deviation", ylim=(0, None))
right.legend(frameon=False)
plt.show()

# %%
# Covariances
# -----------
#
# Two targets whose correlation turns from -0.9 to 0.9 as x grows. With ``covariance="full"`` the
# network also gives what lies below the diagonal of M, the inverse of the Cholesky factor of
# :math:`\Sigma`, so that :math:`\Sigma^{-1} = M^T M` is positive definite whatever it says.


def correlation(x):
    """Correlation of the two targets."""
    return 0.9 * np.sin(x * np.pi / 4)


def draw_pair(n):
    """Inputs and pairs of targets."""
    x = rng.uniform(-2, 2, n)
    e = rng.normal(size=(n, 2))
    e[:, 1] = correlation(x) * e[:, 0] + np.sqrt(1 - correlation(x) ** 2) * e[:, 1]
    return x[:, None], np.stack([x, np.cos(x)], axis=1) + [0.3, 0.5] * e


X, Y = draw_pair(4000)
X_new, Y_new = draw_pair(3000)
diagonal = MLPRegressor(loss="gaussian", **SETTINGS).fit(X, Y)
full = MLPRegressor(loss="gaussian", covariance="full", **SETTINGS).fit(X, Y)


def cost_of(model):
    """Mean negative log-likelihood of the new pairs."""
    means, covariances = model.predict(X_new, return_cov=True)
    return -np.mean(
        [
            stats.multivariate_normal(m, c).logpdf(row)
            for m, c, row in zip(means[::3], covariances[::3], Y_new[::3], strict=True)
        ]
    )


cost_diagonal, cost_full = cost_of(diagonal), cost_of(full)
print(f"two variances      {cost_diagonal:8.3f}")
print(f"full covariance    {cost_full:8.3f}")
assert cost_full < cost_diagonal
worth = -np.log(1 - correlation(X_new[:, 0]) ** 2).mean() / 2
print(f"knowing the correlation is worth {worth:.3f}")

# %%
# Ellipses hold 90 % of a Gaussian. Each panel shows new pairs whose x lies near the given one.


def ellipse(mean, cov, share=0.9, n=100):
    """Points around the smallest region that has the given share of a Gaussian."""
    angle = np.linspace(0, 2 * np.pi, n)
    circle = np.sqrt(stats.chi2(2).ppf(share)) * np.stack([np.cos(angle), np.sin(angle)])
    return mean[:, None] + np.linalg.cholesky(cov) @ circle


fig, axes = plt.subplots(1, 4, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, at in zip(axes, (-1.8, -0.6, 0.6, 1.8), strict=True):
    near = np.abs(X_new[:, 0] - at) < 0.15
    residual = Y_new[near] - np.stack([X_new[near, 0], np.cos(X_new[near, 0])], axis=1)
    truth = np.array([at, np.cos(at)])
    ax.plot(*(residual + truth).T, ".", ms=3, color="0.7")
    for model, name, style in ((diagonal, "diagonal", ":"), (full, "full", "-")):
        (mean,), (cov,) = model.predict([[at]], return_cov=True)
        ax.plot(
            *ellipse(mean, cov), style, lw=2, label=name, color="C3" if name == "full" else "C0"
        )
    rho = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    ax.set_title(f"x = {at}\ncorrelation {rho:.2f} (true {correlation(at):.2f})", fontsize=10)
    ax.set(xlabel="first target", xlim=(at - 1.1, at + 1.1))
axes[0].set_ylabel("second target")
axes[0].legend(frameon=False)
plt.show()

# %%
# A Laplace distribution
# ----------------------
#
# With ``loss="laplace"`` the raw outputs are the median and the logarithm of the scale b. Its tails
# are heavy: of noise that has such tails a Gaussian expects too little in the middle and next to
# nothing far out. `predict` gives standard deviations here too, :math:`\sqrt 2\, b`.


def laplace_noise(size):
    """Laplace noise of unit variance."""
    return rng.laplace(scale=np.sqrt(0.5), size=size)


X, y = draw(4000, laplace_noise)
X_new, y_new = draw(2000, laplace_noise)
print("negative log-likelihood of new data under heavy tails")
fitted = {}
for loss, distribution in (("gaussian", stats.norm), ("laplace", stats.laplace)):
    fitted[loss] = MLPRegressor(loss=loss, **SETTINGS).fit(X, y)
    location, std = fitted[loss].predict(X_new, return_std=True)
    cost = -distribution.logpdf(y_new, location, std / distribution.std()).mean()
    print(f"{loss:18}{cost:8.3f}")

at = 1.0
offset = np.linspace(-3, 3, 400)
near = np.abs(X_new[:, 0] - at) < 0.3
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
residual = (y_new - np.sin(2 * X_new[:, 0]))[near] * sigma(at) / sigma(X_new[near, 0])
ax.hist(residual, bins=np.linspace(-2.5, 2.5, 41), density=True, color="0.85", label="new data")
for (loss, model), distribution in zip(fitted.items(), (stats.norm, stats.laplace), strict=True):
    (location,), (std,) = model.predict([[at]], return_std=True)
    location -= np.sin(2 * at)
    pdf = distribution.pdf(offset, location, std / distribution.std())
    ax.plot(offset, pdf, lw=2, label=f"{loss}, std {std:.2f} (true {sigma(at):.2f})")
ax.set(
    xlabel="y − f(x)",
    ylabel="density",
    title=f"Predicted at x = {at}",
    xlim=(-2.5, 2.5),
    ylim=(0, 1.75),
)
ax.legend(frameon=False)
plt.show()
