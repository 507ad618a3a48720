"""What a pickled estimator carries, and how one of another version comes back.

A pickle holds parameters, published attributes and plain data; the estimator is the only class of
ours in it. It is stamped with nbnet's version.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from nbnet.estimators.parameters import Parameter
from nbnet.version import __version__

__all__ = ["restored", "stamped"]

_STAMP = "_nbnet_version"


def stamped(state: dict[str, Any]) -> dict[str, Any]:
    """Add the version to the state of an estimator."""
    return {**state, _STAMP: __version__}


def restored(
    name: str, state: Mapping[str, Any], parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """The state as this version has it; parameters that it lacks get their defaults.

    Another version than this one is warned of, as scikit-learn does for its own estimators.
    """
    state = dict(state)
    version = state.pop(_STAMP, None)
    if version != __version__:
        warnings.warn(
            InconsistentVersionWarning(
                estimator_name=f"nbnet.{name}",
                current_sklearn_version=__version__,
                original_sklearn_version=version or "before 0.1.0",
            ),
            stacklevel=2,
        )
        state = _from_before_stamps(state) if version is None else state
    return {**{row.name: row.default for row in parameters.values()}, **state}


def _from_before_stamps(state: dict[str, Any]) -> dict[str, Any]:
    """Make plain data of the objects that development versions before 0.1.0 kept."""
    binarizer = state.pop("_label_binarizer", None)
    if binarizer is not None:
        state["_labels"] = {"kind": binarizer.y_type_, "sparse": binarizer.sparse_input_}
    optimizer = state.pop("_optimizer", None)
    count = state.pop("_no_improvement_count", 0)
    if optimizer is not None:
        slow_downs, rate = 0, optimizer.learning_rate_init
        while optimizer.schedule == "adaptive" and rate > optimizer.learning_rate:
            slow_downs, rate = slow_downs + 1, rate / 5.0
        invscaling = optimizer.schedule == "invscaling"
        state["_training"] = {
            "solver": optimizer.name,
            "solver_numbers": {k: float(v) for k, v in optimizer.settings.items()},
            "learning_rate_init": float(optimizer.learning_rate_init),
            "schedule": optimizer.schedule,
            "schedule_numbers": {"power_t": float(optimizer.power_t)} if invscaling else {},
            "slots": optimizer.slots,
            "step": optimizer.step,
            "slow_downs": slow_downs,
            "no_improvement_count": count,
        }
    return state
