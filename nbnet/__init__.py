"""Multilayer perceptrons compiled with numba, drop-in for scikit-learn's.

`MLPClassifier` and `MLPRegressor` take the parameters and show the attributes of the classes of the
same names in `sklearn.neural_network`, and with the same integer ``random_state`` they learn the
same weights. `import nbnet` itself imports neither numba nor scikit-learn: the estimators are
imported on first use, and compiled (then cached on disk) in their first ``fit``, or ahead of it by
`warmup`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nbnet.version import __version__

if TYPE_CHECKING:
    from nbnet.estimators import MLPClassifier, MLPRegressor
    from nbnet.warmup import warmup

__all__ = ["MLPClassifier", "MLPRegressor", "__version__", "warmup"]


def __getattr__(name: str) -> Any:
    if name in ("MLPClassifier", "MLPRegressor"):
        from nbnet import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'nbnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package whose `warmup` is the function, although a module of that name lies in it.

    The module is there for ``python -m nbnet.warmup``. To import it, anywhere, would otherwise bind
    it to the name.
    """

    @property
    def warmup(self) -> Any:
        return import_module("nbnet.warmup").warmup

    @warmup.setter
    def warmup(self, submodule: ModuleType) -> None:
        """Ignore what the import system binds."""


sys.modules[__name__].__class__ = _Package
