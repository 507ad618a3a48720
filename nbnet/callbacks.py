"""Callbacks: what is told of each epoch of a fit, and may end it.

They are given to an estimator by `set_callbacks`, beside those of `sklearn.callback` (from
scikit-learn 1.9 on) and those that users write. One callback may be given to several estimators; a
clone shares the callbacks of its original.
"""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from nbnet.estimators.callbacks_support import TellsCallbacks
from nbnet.training.monitor import Epoch

__all__ = ["Callback", "EarlyStopping", "Epoch", "LearningCurve", "OptunaPruning"]

# What may be monitored, and whether more of it is better.
MONITORS = {"loss": False, "validation_loss": False, "score": True}


class Callback:
    """Base of callbacks, with all the methods that an estimator calls.

    A callback of one's own overrides `after_epoch`, or the hooks, which are those of
    `sklearn.callback`. A hook may ask for more by keyword-only parameters, and only what is asked
    for is computed: `X` and `y` as given to `fit`, `metadata` (a dict that holds ``sample_weight``,
    or None), and `fitted_estimator`, which predicts as if the fit had ended there.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import MLPClassifier
    >>> from nbnet.callbacks import Callback
    >>> class Target(Callback):
    ...     def after_epoch(self, estimator, epoch):
    ...         return epoch.loss < 0.5
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(max_iter=1000, random_state=0).set_callbacks(Target()).fit(X, y)
    >>> model.loss_curve_[-1] < 0.5 <= model.loss_curve_[-2]
    True
    """

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin: called once before `fit` or `partial_fit` trains.

        Parameters
        ----------
        estimator : estimator
            The one that is fitted.
        context : `sklearn.callback.CallbackContext`, or the like
            Its ``task_name`` is 'fit' or 'partial_fit', its ``max_subtasks`` the largest number of
            epochs.

        Raises
        ------
        TypeError
            If the estimator is not one of nbnet's: others have no epochs to watch.
        """
        if not isinstance(estimator, TellsCallbacks):
            raise TypeError(
                f"{type(self).__name__} watches epochs of nbnet's estimators, but was given to "
                f"{type(estimator).__name__}. In a pipeline or a search, give it to the estimator "
                "inside."
            )

    def teardown(self, estimator: Any, context: Any) -> None:
        """End: called once after it, also if it raised."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Hear of the beginning of the fit, and of each epoch.

        Parameters
        ----------
        estimator, context
            As for `setup`; the ``task_name`` of an epoch, or an iteration of 'lbfgs', is 'epoch'.
        """

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool | None:
        """Hear of the end of each epoch, and of the fit.

        Parameters
        ----------
        estimator, context
            As for `on_fit_task_begin`. ``context.epoch`` is the `Epoch`, or None at the end of the
            fit.

        Returns
        -------
        stop : bool or None
            True after an epoch ends the fit.
        """
        return None if context.epoch is None else self.after_epoch(estimator, context.epoch)

    def after_epoch(self, estimator: Any, epoch: Epoch) -> bool | None:
        """Hear of the end of an epoch, or of an iteration of 'lbfgs'.

        Parameters
        ----------
        estimator : estimator
            The one that is fitted.
        epoch : Epoch
            What is known of it: ``n_iter``, ``loss``, ``score``, ``learning_rate``, ``seconds``.

        Returns
        -------
        stop : bool or None
            True ends the fit.
        """
        return None


class _Recording(Callback):
    """A callback that keeps something for each fit; calls of `partial_fit` count as one."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()

    def setup(self, estimator: Any, context: Any) -> None:
        super().setup(estimator, context)
        if context.task_name != "partial_fit" or estimator not in self._kept:
            self._kept[estimator] = self._new()

    def _new(self) -> Any:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kept": None}  # belongs to the estimators of this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_kept": WeakKeyDictionary()})


class EarlyStopping(_Recording):
    """Ends a fit when what it monitors no longer improves.

    The estimator's own `early_stopping`, `tol` and `n_iter_no_change` go on to judge beside it, and
    `early_stopping` says which weights are kept.

    Parameters
    ----------
    monitor : {'loss', 'score', 'validation_loss'}, default='loss'
        What shall fall, or for 'score' rise: a field of `Epoch`. All but the training loss need
        rows held out.
    patience : int, default=10
        After this many epochs in a row without an improvement, at least 1, the fit ends.
    min_delta : float, default=0
        An improvement is more than this, at least 0.

    Attributes
    ----------
    stopped : bool
        Whether it has asked the fit that it watched last to end. After `partial_fit`, whose only
        epoch ends anyway, it is for the caller to look at.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from nbnet import MLPClassifier
    >>> from nbnet.callbacks import EarlyStopping
    >>> X, y = load_digits(return_X_y=True)
    >>> stopping = EarlyStopping("loss", patience=1, min_delta=0.01)
    >>> model = MLPClassifier(random_state=0).set_callbacks(stopping).fit(X / 16, y)
    >>> model.loss_curve_[-2] - model.loss_curve_[-1] < 0.01
    True
    """

    def __init__(
        self, monitor: str = "loss", *, patience: int = 10, min_delta: float = 0.0
    ) -> None:
        super().__init__()
        if isinstance(patience, bool) or not isinstance(patience, Integral) or patience < 1:
            raise ValueError(f"patience must be an int of at least 1, got {patience!r}")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be at least 0, got {min_delta!r}")
        self.monitor = _monitor(monitor)
        self.patience = int(patience)
        self.min_delta = min_delta
        self.stopped = False

    monitor: str
    patience: int
    min_delta: float
    stopped: bool

    def _new(self) -> dict[str, Any]:
        self.stopped = False
        return {"best": -np.inf, "waited": 0}

    def after_epoch(self, estimator: Any, epoch: Epoch) -> bool:
        """Count the epoch. NaN is no improvement.

        Parameters
        ----------
        estimator, epoch
            As for `Callback.after_epoch`.

        Returns
        -------
        stop : bool
            Whether it is the last.

        Raises
        ------
        ValueError
            If the fit does not have what is monitored.
        """
        kept = self._kept[estimator]
        value = _value(self, epoch)
        value = value if MONITORS[self.monitor] else -value
        if value > kept["best"] + self.min_delta:
            kept["best"], kept["waited"] = value, 0
        else:
            kept["waited"] += 1
        self.stopped = kept["waited"] >= self.patience
        return self.stopped


class LearningCurve(_Recording):
    """Records what is known of each epoch, also of 'lbfgs', whose models have no `loss_curve_`.

    Attributes
    ----------
    histories : list of dict of str to list
        One for each fit, in the order in which they began: for each of ``n_iter``, ``loss``,
        ``score``, ``learning_rate``, ``seconds`` (and what else `Epoch` has) one value an epoch.
        pandas makes a data frame of it. Calls of `partial_fit` of one model go on with one history.
        Fits in other processes are not recorded here.
    history : dict of str to list
        The last of them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import MLPClassifier
    >>> from nbnet.callbacks import LearningCurve
    >>> X, y = load_iris(return_X_y=True)
    >>> curve = LearningCurve()
    >>> model = MLPClassifier(solver="lbfgs", max_iter=500, random_state=0).set_callbacks(curve)
    >>> model.fit(X, y).n_iter_ == len(curve.history["loss"])
    True
    >>> display = curve.plot(log_scale=True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.histories: list[dict[str, list[Any]]] = []

    @property
    def history(self) -> dict[str, list[Any]]:  # noqa: D102 - an attribute, described above
        if not self.histories:
            raise ValueError("LearningCurve has recorded nothing yet: no fit has begun")
        return self.histories[-1]

    def _new(self) -> dict[str, list[Any]]:
        self.histories.append({name: [] for name in _COLUMNS})
        return self.histories[-1]

    def after_epoch(self, estimator: Any, epoch: Epoch) -> None:
        """Record the epoch.

        Parameters
        ----------
        estimator, epoch
            As for `Callback.after_epoch`.
        """
        history = self._kept[estimator]
        for name in _COLUMNS:
            history[name].append(getattr(epoch, name))
        history["n_iter"][-1] = len(history["n_iter"])  # partial_fit begins anew in each call

    def plot(self, ax: Any = None, *, log_scale: bool = False, **kwargs: Any) -> Any:
        """Draw losses and scores of the last fit, by matplotlib.

        Parameters
        ----------
        ax, log_scale, **kwargs
            As in `nbnet.inspection.TrainingDisplay.plot`.

        Returns
        -------
        display : nbnet.inspection.TrainingDisplay
        """
        from nbnet.inspection import TrainingDisplay

        history = self.history
        kinds = {"training": "loss", "validation": "validation_loss"}
        losses = {kind: history[name] for kind, name in kinds.items() if _known(history, name)}
        scores = {"validation": history["score"]} if _known(history, "score") else None
        return TrainingDisplay(loss_curves=losses, validation_scores=scores).plot(
            ax, log_scale=log_scale, **kwargs
        )


class OptunaPruning(_Recording):
    """Reports each epoch to a trial of Optuna, and ends the fit where Optuna prunes the trial.

    The fit then raises ``optuna.TrialPruned``, which Optuna expects. In `cross_val_score` and the
    like it gets through with ``error_score='raise'`` only; and each fold reports the same epochs,
    of which Optuna keeps the first. So one split suits pruning best.

    Parameters
    ----------
    trial : optuna.trial.Trial
        What the objective is given.
    monitor : {'score', 'loss', 'validation_loss'}, default='score'
        What is reported: a field of `Epoch`. 'score' belongs to a study that maximizes, the others
        to one that minimizes. All but the training loss need rows held out.
    """

    def __init__(self, trial: Any, monitor: str = "score") -> None:
        super().__init__()
        self.trial = trial
        self.monitor = _monitor(monitor)

    monitor: str

    def setup(self, estimator: Any, context: Any) -> None:
        """Begin, if the direction of the study is that of what is monitored.

        Parameters
        ----------
        estimator, context
            As for `Callback.setup`.

        Raises
        ------
        ValueError
            If it is not.
        """
        super().setup(estimator, context)
        study = getattr(self.trial, "study", None)  # a fixed trial has none
        wanted = "MAXIMIZE" if MONITORS[self.monitor] else "MINIMIZE"
        if study is not None and study.direction.name != wanted:
            raise ValueError(
                f"OptunaPruning(monitor={self.monitor!r}) needs a study with "
                f"direction={wanted.lower()!r}; it is {study.direction.name.lower()!r}"
            )

    def _new(self) -> list[int]:
        return [0]  # epochs so far

    def after_epoch(self, estimator: Any, epoch: Epoch) -> None:
        """Report the epoch.

        Parameters
        ----------
        estimator, epoch
            As for `Callback.after_epoch`.

        Raises
        ------
        optuna.TrialPruned
            If the trial shall end.
        ValueError
            If the fit does not have what is monitored.
        """
        import optuna

        kept = self._kept[estimator]
        kept[0] += 1
        self.trial.report(_value(self, epoch), step=kept[0])
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"pruned after epoch {kept[0]}")


_COLUMNS = [field.name for field in fields(Epoch) if field.name not in ("note", "snapshot")]


def _known(history: dict[str, list[Any]], name: str) -> bool:
    return any(value is not None for value in history.get(name, ()))


def _monitor(name: str) -> str:
    if name not in MONITORS:
        raise ValueError(f"monitor must be one of {', '.join(map(repr, MONITORS))}; got {name!r}")
    return name


def _value(callback: EarlyStopping | OptunaPruning, epoch: Epoch) -> float:
    value = getattr(epoch, callback.monitor, None)
    if value is None:
        raise ValueError(
            f"{type(callback).__name__}(monitor={callback.monitor!r}) needs rows held out in the "
            "fit, as with early_stopping=True; this fit has none"
        )
    return float(value)
