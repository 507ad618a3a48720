"""The one door to scikit-learn's callbacks, which are experimental there.

From version 1.9 on, `sklearn.callback` has them: an estimator gets `set_callbacks`, and its `fit`
tells the callbacks of tasks, which form a tree. Older versions of scikit-learn get a small module
of the same methods here. It has what a single estimator needs; meta-estimators that pass on
callbacks, such as a grid search, came with 1.9 too.

If a version of scikit-learn has other callbacks than those known here, estimators work, and
`set_callbacks` raises.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, wraps
from importlib.util import find_spec
from typing import Any, Self

import sklearn

from nbnet.training.monitor import Epoch
from nbnet.training.state import FitState

__all__ = ["TellsCallbacks", "with_callbacks"]

_HOOKS = ("setup", "teardown", "on_fit_task_begin", "on_fit_task_end")


class _Context:
    """`sklearn.callback.CallbackContext` for older versions: a task of a fit."""

    def __init__(
        self, callbacks: list[Any], estimator_name: str, task_name: str, max_subtasks: int | None
    ):
        self._callbacks = callbacks
        self.estimator_name = estimator_name
        self.task_name = task_name
        self.task_id = 0
        self.max_subtasks = max_subtasks
        self.sequential_subtasks = True
        self.parent: _Context | None = None
        self.root_uuid = uuid.uuid4()
        self.init_time = datetime.now(UTC)
        self.source_estimator_name = self.source_task_name = None
        self._children: list[_Context] = []

    def __iter__(self) -> Iterator[_Context]:
        yield self
        for child in self._children:
            yield from child

    def subcontext(self, task_name: str = "", max_subtasks: int | None = 0) -> _Context:
        child = _Context(self._callbacks, self.estimator_name, task_name, max_subtasks)
        child.task_id, child.parent, child.root_uuid = len(self._children), self, self.root_uuid
        self._children.append(child)
        return child

    def call_on_fit_task_begin(self, **facts: Any) -> _Context:
        self._call("on_fit_task_begin", **facts)
        return self

    def call_on_fit_task_end(self, **facts: Any) -> bool:
        return self._call("on_fit_task_end", **facts)

    def _call(self, hook: str, estimator: Any, **facts: Any) -> bool:
        """Call a hook of each callback with what its signature asks for, and only that."""
        attributes = facts.pop("reconstruction_attributes", None)
        stop = False
        for callback in self._callbacks:
            asked = _keywords(getattr(type(callback), hook))
            if "fitted_estimator" in asked and "fitted_estimator" not in facts:
                facts["fitted_estimator"] = _fitted(estimator, attributes)
            given = {name: facts.get(name) for name in asked}
            stop |= bool(getattr(callback, hook)(estimator, self, **given))
        return stop


@lru_cache
def _keywords(hook: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(hook).parameters.values()
    names = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    unknown = sorted(names - {"X", "y", "metadata", "fitted_estimator"})
    if unknown:
        raise TypeError(
            f"{hook.__qualname__} has the keyword {unknown[0]!r}; a hook may ask for X, y, "
            "metadata and fitted_estimator"
        )
    return names


def _fitted(estimator: Any, attributes: Any) -> Any:
    """Make an estimator as if the fit had ended with these attributes."""
    attributes = attributes() if callable(attributes) else attributes
    if attributes is None:
        return None
    model = object.__new__(type(estimator))
    vars(model).update({**vars(estimator), **attributes})
    return model


class _Support:
    """`sklearn.callback.CallbackSupportMixin` for older versions."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        for callback in callbacks:
            if isinstance(callback, type) or not all(hasattr(callback, hook) for hook in _HOOKS):
                raise TypeError(
                    f"a callback must be an instance with the methods {', '.join(_HOOKS)}; got "
                    f"{callback!r}"
                )
        if callbacks:
            self._skl_callbacks = list(callbacks)
        else:
            vars(self).pop("_skl_callbacks", None)
        return self

    def _init_callback_context(
        self, task_name: str = "fit", max_subtasks: int | None = 0
    ) -> _Context:
        callbacks = getattr(self, "_skl_callbacks", [])
        context = _Context(callbacks, type(self).__name__, task_name, max_subtasks)
        self._callback_fit_ctx = context
        self._skl_callbacks_to_teardown: list[Any] = []
        for callback in callbacks:
            self._skl_callbacks_to_teardown.append(callback)
            callback.setup(estimator=self, context=context)
        return context

    def __sklearn_clone__(self) -> Self:
        """Clone as ever, and give the clone the same callbacks, as `clone` does from 1.9 on."""
        from sklearn.base import _clone_parametrized

        model: Self = _clone_parametrized(self)
        if hasattr(self, "_skl_callbacks"):
            model._skl_callbacks = self._skl_callbacks
        return model


def _torn_down(method: Callable[..., Any]) -> Callable[..., Any]:
    """`sklearn.callback.with_callbacks` for older versions."""

    @wraps(method)
    def managed(estimator: Any, *arguments: Any, **named: Any) -> Any:
        with ExitStack() as stack:
            stack.callback(_tear_down, estimator, stack)
            return method(estimator, *arguments, **named)

    return managed


def _tear_down(estimator: Any, stack: ExitStack) -> None:
    """Have all callbacks torn down, also if one of them raises."""
    context = vars(estimator).pop("_callback_fit_ctx", None)
    callbacks = vars(estimator).pop("_skl_callbacks_to_teardown", [])
    for callback in reversed(callbacks):
        stack.callback(callback.teardown, estimator=estimator, context=context)


class _UnknownSupport:
    """What estimators get if scikit-learn's callbacks are not as known here."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        raise _unknown()


def _unknown() -> RuntimeError:
    return RuntimeError(
        f"nbnet does not know the callbacks of scikit-learn {sklearn.__version__}, which are "
        "experimental there; it knows those of 1.9. Everything but set_callbacks works."
    )


Support: Any
with_callbacks: Any
if find_spec("sklearn.callback") is None:
    Support, with_callbacks = _Support, _torn_down
else:
    from sklearn import callback as upstream

    Support = getattr(upstream, "CallbackSupportMixin", _UnknownSupport)
    with_callbacks = getattr(upstream, "with_callbacks", lambda method: method)


@lru_cache
def _as_known() -> bool:
    """Whether scikit-learn's methods take what is passed to them here."""
    if Support is _Support:
        return True
    task = {"estimator": 0, "X": 0, "y": 0, "metadata": 0, "reconstruction_attributes": 0}
    try:
        for owner, method, named in (
            (upstream, "with_callbacks", {}),
            (Support, "_init_callback_context", {"task_name": "", "max_subtasks": 1}),
            (upstream.CallbackContext, "subcontext", {"task_name": ""}),
            (upstream.CallbackContext, "call_on_fit_task_begin", task),
            (upstream.CallbackContext, "call_on_fit_task_end", task),
        ):
            inspect.signature(getattr(owner, method)).bind(None, **named)
    except (AttributeError, TypeError):
        return False
    return True


def _no_snapshot() -> FitState:
    raise RuntimeError("a callback gets no snapshot; it may ask for fitted_estimator")


class _EpochTeller:
    """The listener that tells the callbacks."""

    def __init__(
        self, estimator: Any, context: Any, data: Mapping[str, Any], fitted: Callable[..., Any]
    ):
        self.context = context
        self.task = {"estimator": estimator, **data}
        self.fitted = fitted

    def before_epoch(self, snapshot: Callable[[], FitState]) -> None:
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.epoch = None
        self.epoch.call_on_fit_task_begin(
            **self.task, reconstruction_attributes=lambda: self.fitted(snapshot())
        )

    def __call__(self, epoch: Epoch) -> bool:
        # Contexts may be kept as long as a whole grid search runs: without the memory of the fit.
        self.epoch.epoch = replace(epoch, snapshot=_no_snapshot)
        return self.epoch.call_on_fit_task_end(
            **self.task, reconstruction_attributes=lambda: self.fitted(epoch.snapshot())
        )


class TellsCallbacks(Support):
    """An estimator that tells scikit-learn's callbacks of its epochs.

    Methods that fit are decorated with `with_callbacks`, which ends what they have begun.
    """

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Have callbacks told of each epoch of `fit` and `partial_fit`; without any, of none.

        A clone has the same callbacks, not copies of them.

        Parameters
        ----------
        *callbacks : objects
            Those of `nbnet.callbacks`, of `sklearn.callback` (from scikit-learn 1.9 on), or others
            with the methods of `nbnet.callbacks.Callback`. An epoch after which one returns True is
            the last one; what one raises ends the fit, and the estimator is as before.

        Returns
        -------
        self : object
            The estimator.
        """
        if not _as_known():
            raise _unknown()
        super().set_callbacks(*callbacks)
        if callbacks and not hasattr(self, "_skl_callbacks"):
            raise _unknown()
        return self

    def _data_for_callbacks(self, X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        """What callbacks may ask for; without callbacks nothing, so that no array is kept."""
        if not getattr(self, "_skl_callbacks", None):
            return {}
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        return {"X": X, "y": y, "metadata": metadata}

    def _begin_callbacks(
        self,
        task_name: str,
        max_epochs: int,
        data: Mapping[str, Any],
        fitted: Callable[[FitState], dict[str, Any]],
    ) -> list[Any]:
        """Tell the callbacks that a fit begins.

        Parameters
        ----------
        task_name : str
            'fit' or 'partial_fit'.
        max_epochs : int
            The largest number of epochs.
        data : dict
            From `_data_for_callbacks`.
        fitted : callable
            Makes attributes of an estimator of the state of a fit.

        Returns
        -------
        listeners : list
            The listener that tells the callbacks of each epoch; empty if there are no callbacks.
        """
        if not data:
            return []
        context = self._init_callback_context(task_name=task_name, max_subtasks=max_epochs)
        context.epoch = None
        context.call_on_fit_task_begin(estimator=self, **data)
        return [_EpochTeller(self, context, data, fitted)]

    def _end_callbacks(self, data: Mapping[str, Any]) -> None:
        """Tell the callbacks that the fit has ended and that the estimator is fitted."""
        context = getattr(self, "_callback_fit_ctx", None)
        if context is not None:
            context.call_on_fit_task_end(estimator=self, **data, reconstruction_attributes={})
