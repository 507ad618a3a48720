"""The weights of a model: `coefs_` and `intercepts_`, and the flat vector that networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from nbnet.estimators.targets import Targets
from nbnet.graph.network import Network
from nbnet.kernels.user import loss_row

__all__ = ["NOTHING_CUT", "Cut", "cut", "initial", "packed", "uncut"]

# The blocks of a network, a flat vector, and the arrays that were cut from it.
Cut = tuple[Any, np.ndarray, tuple[np.ndarray, ...]]
NOTHING_CUT: Cut = ((), np.empty(0), ())


def initial(
    network: Network, targets: Targets, random_state: np.random.RandomState, dtype: Any
) -> np.ndarray:
    """Draw the parameters (P,) of a new model."""
    params = network.init(random_state, dtype=dtype)
    if loss_row(targets.loss).learns_scale:
        # From unit scales on: the exponential of a random one may be any number.
        for last in (part[-1] for part in network.unpack(params, copy=False)):
            last[..., targets.n_outputs :] = 0
    return params


def cut(network: Network, params: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], Cut]:
    """Cut `coefs_` and `intercepts_` out of a flat vector, and remember the vector."""
    coefs, intercepts = network.unpack(params, copy=False)
    return coefs, intercepts, (network.parameters, params, (*coefs, *intercepts))


def uncut(
    network: Network,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    remembered: Cut,
) -> np.ndarray | None:
    """The flat vector (P,) that these very arrays were cut from, if they still are.

    To copy it would take longer than to predict one row.
    """
    blocks, params, arrays = remembered
    now = (*coefs, *intercepts)
    if blocks == network.parameters and len(arrays) == len(now) and all(map(is_, arrays, now)):
        return params
    return None


def packed(
    network: Network,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    dtype: Any,
    asked: Mapping[str, Any],
) -> np.ndarray:
    """`coefs_` and `intercepts_` as a new flat vector (P,) of a network, if they fit it.

    `asked` holds the parameters that the network follows from, for the error.
    """
    _check_shapes(network, coefs, intercepts, asked)
    return network.pack(coefs, intercepts, dtype=dtype)


def _check_shapes(
    network: Network,
    coefs: Sequence[np.ndarray],
    intercepts: Sequence[np.ndarray],
    asked: Mapping[str, Any],
) -> None:
    """Raise a ValueError that names the array that does not fit, and why."""
    if len(coefs) != len(intercepts):
        raise ValueError(
            f"coefs_ and intercepts_ must have one entry each for each layer; they have "
            f"{len(coefs)} and {len(intercepts)}."
        )
    shapes = [np.shape(weights) for weights in coefs]
    for i, (shape, bias) in enumerate(zip(shapes, intercepts, strict=True)):
        if len(shape) in (1, 2) and np.shape(bias) != shape[-1:]:
            raise ValueError(
                f"intercepts_[{i}] has shape {np.shape(bias)}, but coefs_[{i}], of shape {shape}, "
                f"needs {shape[-1:]}. Set both."
            )
    wanted = [p.shape for p in network.parameters if p.role == "weights"]
    if shapes != wanted:
        told = ", ".join(f"{name}={value!r}" for name, value in asked.items())
        raise ValueError(
            f"The fitted coefs_ have shapes {shapes}, but {told} and the data ask for {wanted}. "
            "Set the parameters back, or fit with warm_start=False."
        )
