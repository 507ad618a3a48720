"""Multilayer perceptrons compiled with numba, drop-in for scikit-learn's.

`MLPClassifier` and `MLPRegressor` take the parameters and show the attributes of the classes of the
same names in `sklearn.neural_network`, and with the same integer ``random_state`` they learn the
same weights. `import nbnet` itself imports neither numba nor scikit-learn: the estimators are
imported on first use, and compiled (then cached on disk) in their first ``fit``, or ahead of it by
`warmup`.
"""

from typing import TYPE_CHECKING, Any

from nbnet.version import __version__

if TYPE_CHECKING:
    from nbnet.ahead import warmup
    from nbnet.estimators import MLPClassifier, MLPRegressor, from_sklearn
    from nbnet.kernels.user import CustomActivation, CustomLoss

__all__ = [
    "CustomActivation",
    "CustomLoss",
    "MLPClassifier",
    "MLPRegressor",
    "__version__",
    "from_sklearn",
    "warmup",
]


def __getattr__(name: str) -> Any:
    if name in ("MLPClassifier", "MLPRegressor", "from_sklearn"):
        from nbnet import estimators

        return getattr(estimators, name)
    if name in ("CustomActivation", "CustomLoss"):
        from nbnet.kernels import user

        return getattr(user, name)
    if name == "warmup":
        from nbnet import ahead

        return ahead.warmup
    raise AttributeError(f"module 'nbnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
