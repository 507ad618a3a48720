"""Scores of a model in training by scikit-learn's scorers, or by a function of the user's.

A scorer calls an estimator and X and y. In training the outputs of the held-out rows are in hand,
so the estimator that it gets is a stand-in: it answers for these rows with what is in hand, and
computes others from the parameters of the moment. Otherwise it is what `fit` will return: labels,
the order of classes and units are those of the user.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer, get_scorer_names

from nbnet.graph.network import Network
from nbnet.training.metrics import METRICS
from nbnet.training.monitor import Model

__all__ = ["SCORING_NAMES", "Scorer", "scorer_of"]

SCORING_NAMES = frozenset({*get_scorer_names(), *METRICS, "loss"})


class _InHand:
    """Put before an estimator's class: what its rows in hand give is not computed again."""

    _network_in_hand: Network
    _model_in_hand: Model
    _X_in_hand: Any
    _raw_in_hand: np.ndarray
    _outputs_in_hand: np.ndarray

    @property
    def coefs_(self) -> list[np.ndarray]:
        return self._network_in_hand.unpack(self._model_in_hand.outcome)[0]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return self._network_in_hand.unpack(self._model_in_hand.outcome)[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or a pickle, is an estimator as `fit` returns it: it outlives the epoch."""
        of_user: Any = type(self).__bases__[1]
        state: Any = super().__getstate__()
        state = {k: v for k, v in state.items() if not k.endswith("_in_hand")}
        state |= {"coefs_": self.coefs_, "intercepts_": self.intercepts_}
        return _blank, (of_user,), state

    def _fitted_network(self) -> Network:
        return self._network_in_hand

    def _packed(self, network: Network) -> np.ndarray:
        return self._model_in_hand.outcome

    def _run(self, network: Network, X: Any, **what: Any) -> np.ndarray:
        if X is self._X_in_hand and network is self._network_in_hand:
            if not what:
                return self._raw_in_hand
            if list(what) == ["loss"]:
                return self._outputs_in_hand
        result: np.ndarray = super()._run(network, X, **what)  # type: ignore[misc]
        return result


def _blank(kind: Any) -> Any:
    return kind.__new__(kind)


class Scorer:
    """A scorer, the rows that it is to see, and the estimator that it is to see them with.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y)`` returns a number, the higher the better. If its function has a
        parameter `sample_weight`, it gets the weights too, if there are any.
    told : object
        The value of `scoring`, for errors.
    estimator : BaseMLP
        With parameters and all that a fit publishes before it trains.
    network : Network
    X, y, sample_weight
        The rows as the user has them; weights may be None.
    """

    def __init__(
        self,
        scorer: Callable[..., Any],
        told: Any,
        estimator: Any,
        network: Network,
        X: Any,
        y: Any,
        sample_weight: np.ndarray | None,
    ):
        self.scorer, self.told, self.X, self.y = scorer, told, X, y
        weighed = sample_weight is not None and _takes_weights(scorer)
        self.more = {"sample_weight": sample_weight} if weighed else {}
        of_user = type(estimator)
        kind: Any = type(of_user.__name__, (_InHand, of_user), {"__module__": of_user.__module__})
        self.stand_in = kind.__new__(kind)
        vars(self.stand_in).update(vars(estimator), _network_in_hand=network, _X_in_hand=X)

    def __call__(self, model: Model, raw: np.ndarray, outputs: np.ndarray) -> float:
        """Score a model from its outputs (N, R) before and behind the link."""
        vars(self.stand_in).update(_model_in_hand=model, _raw_in_hand=raw, _outputs_in_hand=outputs)
        score = self.scorer(self.stand_in, self.X, self.y, **self.more)
        if not isinstance(score, Real):
            raise TypeError(f"scoring={self.told!r} must return a number; it returned {score!r}.")
        return float(score)


def scorer_of(scoring: Any, metric: str) -> Callable[..., Any] | None:
    """The scorer that `scoring` names or is; None for one of our own metrics, or the loss.

    `metric` is that of the targets: it needs no scorer.
    """
    if scoring is None or scoring in ("loss", metric):
        return None
    if callable(scoring):
        return scoring
    if scoring in METRICS and scoring not in get_scorer_names():
        return None
    return get_scorer(scoring)


def _takes_weights(scorer: Callable[..., Any]) -> bool:
    try:
        return "sample_weight" in signature(getattr(scorer, "_score_func", scorer)).parameters
    except (TypeError, ValueError):  # a callable that tells nothing of its parameters
        return False
