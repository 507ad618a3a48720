r"""
Mean, median, quantiles: what a cost learns
===========================================

The cost decides which statistic of p(y | x) a network learns: squared error the mean,
absolute error the median, the tilted absolute error any quantile, and Huber's loss something
between mean and median. On skewed noise of a known kind all of them differ, and all can be checked.
(Goodfellow et al., 2016, section 6.2.1.2, equations 6.14 to 6.16.)
"""

# %%
# Data
# ----
#
# :math:`y = f(x) + s(x)\,\varepsilon` with exponential noise :math:`\varepsilon`, of which most is
# small and some is large. Its mean is 1, its median :math:`\log 2`, its q-quantile
# :math:`-\log(1 - q)`; those of y given x lie s(x) times as far above f(x).

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq

from nbnet import MLPRegressor

rng = np.random.default_rng(0)


def f(x):
    """Where the noise begins."""
    return np.sin(2 * x)


def s(x):
    """How far it spreads."""
    return 0.7 + 0.25 * x


x = rng.uniform(-2, 2, 6000)
y = f(x) + s(x) * rng.exponential(size=len(x))

# %%
# Huber's statistic is where the differences from it, cut off at ±δ, cancel on average. The cut is
# in units of y, so that the statistic depends on s(x).

DELTA = 1.0


def mean_of_clipped(m, delta):
    """The mean of the exponential noise minus m, clipped to [-delta, delta]."""
    # E[clip(e - m, -d, d)] = -d + integral over (-d, d) of P(e > m + t) dt
    low, high = max(m - delta, 0.0), m + delta
    return -delta + (low - (m - delta)) + np.exp(-low) - np.exp(-high)


def huber_statistic(x):
    """What Huber's loss learns at each x."""
    at = [brentq(mean_of_clipped, 0, 2, args=(DELTA / scale,)) for scale in s(x)]
    return f(x) + s(x) * np.array(at)


# %%
# One network for each cost
# -------------------------
#
# The networks differ in nothing but the cost. A learning rate that shrinks once progress ends lets
# the noise of the batches die away.

COSTS = {
    "mean": ({"loss": "squared_error"}, lambda x: f(x) + s(x)),
    "Huber": ({"loss": "huber", "huber_delta": DELTA}, huber_statistic),
    "median": ({"loss": "absolute_error"}, lambda x: f(x) + s(x) * np.log(2)),
    "0.9-quantile": ({"loss": "quantile", "quantile": 0.9}, lambda x: f(x) + s(x) * np.log(10)),
    "0.1-quantile": (
        {"loss": "quantile", "quantile": 0.1},
        lambda x: f(x) - s(x) * np.log(0.9),
    ),
}

grid = np.linspace(-1.95, 1.95, 200)
learned, known = {}, {}
print(f"{'learned':14}{'rms difference':>16}{'share of y below':>18}")
for name, (cost, statistic) in COSTS.items():
    model = MLPRegressor(
        **cost,
        hidden_layer_sizes=(20,),
        activation="tanh",
        alpha=0,
        solver="sgd",
        learning_rate="adaptive",
        learning_rate_init=0.05,
        batch_size=100,
        tol=1e-5,
        max_iter=1000,
        random_state=0,
    ).fit(x[:, None], y)
    learned[name], known[name] = model.predict(grid[:, None]), statistic(grid)
    difference = np.sqrt(np.mean((learned[name] - known[name]) ** 2))
    below = np.mean(y < model.predict(x[:, None]))
    print(f"{name:14}{difference:16.3f}{below:18.1%}")
    assert difference < 0.15, "a network that has not learned its statistic"

# %%
# Exponential noise lies below its mean with probability :math:`1 - 1/e = 63.2\,\%`, below its
# median with one half, and below the quantiles with 90 % and 10 %: the shares say so.
#
# On the left the learned curves, on the right a cut through them: the density of y at one x, and on
# it what each network says there. The mean is pulled up by the few large values, the median is not,
# and 80 % of the data lie between the two outer quantiles.

COLOURS = {
    "mean": "tab:red",
    "Huber": "tab:orange",
    "median": "tab:blue",
    "0.9-quantile": "tab:green",
    "0.1-quantile": "tab:olive",
}
CUT = 1.5
fig, (ax, cut) = plt.subplots(
    1, 2, figsize=(10, 4.6), layout="constrained", width_ratios=[2, 1], sharey=True
)
ax.plot(x[:2500], y[:2500], ".", ms=2.5, color="0.8", zorder=0)
above = np.linspace(f(CUT), 4.5, 300)
density = np.exp(-(above - f(CUT)) / s(CUT)) / s(CUT)
cut.fill_betweenx(above, density, color="0.9")
for name, curve in learned.items():
    ax.plot(grid, curve, color=COLOURS[name], lw=2, label=name)
    ax.plot(grid[7::15], known[name][7::15], "o", color=COLOURS[name], ms=4.5, mfc="white")
    at_cut = np.interp(CUT, grid, curve)
    cut.plot([0, np.interp(at_cut, above, density)], [at_cut, at_cut], color=COLOURS[name], lw=2)
    cut.plot(0, np.interp(CUT, grid, known[name]), "o", color=COLOURS[name], ms=5, mfc="white")
ax.axvline(CUT, color="0.4", lw=0.8, ls=":")
ax.plot([], [], "o", color="0.4", ms=4.5, mfc="white", label="known")
ax.set(xlabel="x", ylabel="y", title="One cost, one statistic", ylim=(-1.3, 4.2))
ax.legend(ncols=2, loc="upper left", frameon=False)
cut.set(xlabel="p(y | x)", title=f"At x = {CUT}")
plt.show()
