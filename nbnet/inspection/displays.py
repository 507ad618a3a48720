"""Pictures of fitted networks: hidden units, training curves. They need matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from nbnet.inspection.linear_regions import check_estimator

__all__ = ["HiddenUnitDisplay", "TrainingDisplay"]


def _pyplot(caller: str) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install 'nbnet[plot]'") from error
    return plt


def _panels(
    plt: Any, ax: Any, n: int, n_cols: int, size: tuple[float, float], projection: str | None
) -> tuple[Any, np.ndarray]:
    """Axes for `n` panels: the axes around them or None, and the panels in rows and columns.

    As scikit-learn's PartialDependenceDisplay does: None makes a figure, one axes is filled with
    panels, several are the panels. A single panel is the axes itself.
    """
    if ax is not None and not isinstance(ax, plt.Axes):
        panels = np.asarray(ax, dtype=object)
        if panels.size != n:
            raise ValueError(f"ax must be one axes or {n}, one for each panel; got {panels.size}")
        return None, panels
    n_cols = min(n, n_cols)
    n_rows = -(-n // n_cols)
    if ax is None:
        figure = plt.figure(figsize=(size[0] * n_cols, size[1] * n_rows), layout="constrained")
        ax = figure.add_subplot(projection=projection if n == 1 else None)
    if n == 1:
        return ax, np.array([[ax]], dtype=object)
    if not ax.axison:
        raise ValueError(
            "ax has been filled with panels by an earlier plot; draw on these with ax=display.axes_"
        )
    ax.set_axis_off()
    grid = ax.get_subplotspec().subgridspec(n_rows, n_cols)
    panels = np.full((n_rows, n_cols), None, dtype=object)
    for i in range(n):
        panels.flat[i] = ax.figure.add_subplot(grid[i // n_cols, i % n_cols], projection=projection)
    return ax, panels


_PLOT_METHODS = ("contourf", "contour", "pcolormesh", "plot_surface")


class HiddenUnitDisplay:
    """Hidden units in input space: the activation of each as a function of two features.

    Made by `from_estimator`; the parameters are kept as attributes.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (grid_resolution, grid_resolution)
        Values of the two features, as `numpy.meshgrid` gives them.
    activations : ndarray of shape (n_panels, grid_resolution, grid_resolution)
        What each unit makes of them.
    units : sequence of int
        Which units these are; they become the titles.
    xlabel, ylabel : str, default=None
        Names of the two features.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The panels in rows and columns, None where the last row ends early; or the axes given.
    ax_ : matplotlib Axes or None
        What the panels lie in (the panel itself, if there is only one); None if several axes were
        given.
    figure_ : matplotlib Figure
    surfaces_ : list of matplotlib artists
        What was drawn, one for each panel.
    colorbar_ : matplotlib Colorbar or None
        One for all panels, since they share a scale. None if several axes were given, and for
        surfaces.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : The same for a model's output.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import MLPClassifier
    >>> from nbnet.inspection import HiddenUnitDisplay
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = MLPClassifier(hidden_layer_sizes=6, solver="lbfgs", random_state=0).fit(X, y)
    >>> display = HiddenUnitDisplay.from_estimator(
    ...     clf, X, features=("petal length (cm)", "petal width (cm)"))
    >>> display.axes_.shape
    (2, 4)
    """

    def __init__(
        self,
        *,
        xx0: np.ndarray,
        xx1: np.ndarray,
        activations: np.ndarray,
        units: Sequence[int],
        xlabel: str | None = None,
        ylabel: str | None = None,
    ) -> None:
        self.xx0 = xx0
        self.xx1 = xx1
        self.activations = activations
        self.units = units
        self.xlabel = xlabel
        self.ylabel = ylabel

    def plot(
        self,
        plot_method: str = "contourf",
        ax: Any = None,
        *,
        n_cols: int = 4,
        **kwargs: Any,
    ) -> Self:
        """Draw one panel for each unit, all on one scale.

        Parameters
        ----------
        plot_method : {'contourf', 'contour', 'pcolormesh', 'plot_surface'}, default='contourf'
            Method of the axes that draws; 'plot_surface' makes axes in three dimensions, or needs
            them in `ax`.
        ax : matplotlib Axes or array-like of them, default=None
            None makes a figure. One axes is filled with panels; several, one for each unit, are
            drawn on.
        n_cols : int, default=4
            Most panels in a row, unless several axes are given.
        **kwargs : dict
            Passed to the method, over the defaults: a common range of values, and the colours.

        Returns
        -------
        display : HiddenUnitDisplay
            This one.
        """
        if plot_method not in _PLOT_METHODS:
            raise ValueError(f"plot_method must be one of {_PLOT_METHODS}, got {plot_method!r}")
        projection = "3d" if plot_method == "plot_surface" else None
        plt = _pyplot("HiddenUnitDisplay.plot")
        n_panels = len(self.activations)
        size = (3.2, 3.0) if projection else (2.6, 2.4)
        self.ax_, self.axes_ = _panels(plt, ax, n_panels, n_cols, size, projection)
        panels = [panel for panel in self.axes_.flat if panel is not None]
        if projection and not all(hasattr(panel, "plot_surface") for panel in panels):
            raise ValueError("plot_method='plot_surface' needs axes made with projection='3d'")
        low, high = float(self.activations.min()), float(self.activations.max())
        if low == high:  # dead units all: any range will do, but none at all will not
            high = low + 1
        style: dict[str, Any] = {"vmin": low, "vmax": high}
        if not {"colors", "color", "cmap"} & set(kwargs):
            style["cmap"] = "viridis"
        if plot_method in ("contourf", "contour"):
            style["levels"] = plt.MaxNLocator(12).tick_values(low, high)
        self.surfaces_ = []
        for panel, unit, activation in zip(panels, self.units, self.activations, strict=True):
            draw = getattr(panel, plot_method)
            self.surfaces_.append(draw(self.xx0, self.xx1, activation, **(style | kwargs)))
            panel.set(title=f"unit {unit}", xlabel=self.xlabel or "", ylabel=self.ylabel or "")
            if projection:
                panel.set_zlim(low, high)
                panel.set_box_aspect(None, zoom=0.85)  # leaves room for the labels
        self.figure_ = panels[0].figure
        self.colorbar_ = None
        if self.ax_ is not None and not projection:
            n_cols = self.axes_.shape[1]
            for i, panel in enumerate(panels):  # labels at the left and at the foot of each column
                if i % n_cols:
                    panel.set_ylabel("")
                    panel.tick_params(labelleft=False)
                if i + n_cols < n_panels:
                    panel.set_xlabel("")
                    panel.tick_params(labelbottom=False)
            self.colorbar_ = self.figure_.colorbar(self.surfaces_[0], ax=panels, label="activation")
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        layer: int | str = -1,
        features: Sequence[int | str] = (0, 1),
        units: Sequence[int] | None = None,
        grid_resolution: int = 100,
        eps: float = 0.0,
        plot_method: str = "contourf",
        ax: Any = None,
        n_cols: int = 4,
        **kwargs: Any,
    ) -> Self:
        """Compute the activations of a fitted network's hidden units and draw them.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted.
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Says over which range the two features go, and at which values the others are held:
            their means.
        layer : int or str, default=-1
            Hidden layer, counted as in `MLPClassifier.transform`, or name of a node.
        features : pair of int or str, default=(0, 1)
            The two features, by column or, for a dataframe, by name.
        units : sequence of int, default=None
            Units to draw, by their place in the layer; None draws all.
        grid_resolution : int, default=100
            Values of each feature.
        eps : float, default=0.0
            How far the grid goes beyond the smallest and largest values of the features.
        plot_method, ax, n_cols, **kwargs
            As in `plot`.

        Returns
        -------
        display : HiddenUnitDisplay

        Raises
        ------
        ValueError
            If a feature, a unit, `grid_resolution` or `eps` is not possible.
        """
        check_estimator("HiddenUnitDisplay", estimator)
        if not grid_resolution > 1:
            raise ValueError(f"grid_resolution must be greater than 1, got {grid_resolution}")
        if not eps >= 0:
            raise ValueError(f"eps must be at least 0, got {eps}")
        names = list(X.columns) if hasattr(X, "columns") else None
        values = np.asarray(X)
        if values.ndim != 2 or values.shape[1] != estimator.n_features_in_:
            raise ValueError(
                f"X must have shape (n_samples, {estimator.n_features_in_}), got {values.shape}"
            )
        values = values.astype(np.result_type(values, np.float32), copy=False)
        columns = _columns(features, names, values.shape[1])
        axes = (
            np.linspace(values[:, c].min() - eps, values[:, c].max() + eps, grid_resolution)
            for c in columns
        )
        xx0, xx1 = np.meshgrid(*axes)
        grid = np.tile(values.mean(axis=0), (xx0.size, 1))
        grid[:, columns[0]], grid[:, columns[1]] = xx0.ravel(), xx1.ravel()
        rows = grid if names is None else type(X)(grid, columns=names)
        plain = deepcopy(estimator).set_output(transform="default")  # no data frame, any layer
        hidden = plain.transform(rows, layer=layer)
        chosen = list(range(hidden.shape[1]) if units is None else units)
        if not chosen or not all(0 <= unit < hidden.shape[1] for unit in chosen):
            raise ValueError(f"units must be among 0 to {hidden.shape[1] - 1}, got {units!r}")
        labels = [str(names[c]) if names else f"feature {c}" for c in columns]
        display = cls(
            xx0=xx0,
            xx1=xx1,
            activations=hidden.T[chosen].reshape(-1, *xx0.shape),
            units=chosen,
            xlabel=labels[0],
            ylabel=labels[1],
        )
        return display.plot(plot_method, ax, n_cols=n_cols, **kwargs)


def _columns(
    features: Sequence[int | str], names: Sequence[Any] | None, n_features: int
) -> list[int]:
    """The places of two features given by place or by name."""
    columns = []
    for feature in features:
        if isinstance(feature, str):
            if names is None or feature not in names:
                raise ValueError(f"features must be among {names or 'columns'}, got {feature!r}")
            feature = list(names).index(feature)
        if not -n_features <= feature < n_features:
            raise ValueError(f"features must be below {n_features}, got {feature}")
        columns.append(int(feature) % n_features)
    if len(columns) != 2 or columns[0] == columns[1]:
        raise ValueError(f"features must be two different ones, got {features!r}")
    return columns


class TrainingDisplay:
    """Training: loss and validation scores of one or several fitted models, epoch by epoch.

    Made by `from_estimator` or `from_estimators`; the parameters are kept as attributes. The
    models may be nbnet's or scikit-learn's.

    Parameters
    ----------
    loss_curves : dict of str to sequence of float
        Name of the model, and its loss after each epoch.
    validation_scores : dict of str to sequence of float
        The same for the scores of models fitted with `early_stopping`, if any.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The panel of losses and, if there are scores, that of scores; or the axes given.
    ax_ : matplotlib Axes or None
        What they lie in (the panel itself, if there are no scores); None if several were given.
    figure_ : matplotlib Figure
    lines_ : list of list of matplotlib Line2D
        One list for each panel.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from nbnet import MLPClassifier
    >>> from nbnet.inspection import TrainingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> models = {activation: MLPClassifier(hidden_layer_sizes=8, activation=activation,
    ...                                     max_iter=500).fit(X / 10, y)
    ...           for activation in ("relu", "maxout")}
    >>> display = TrainingDisplay.from_estimators(models, log_scale=True)
    >>> [line.get_label() for line in display.lines_[0]]
    ['relu', 'maxout']
    """

    def __init__(
        self,
        *,
        loss_curves: Mapping[str, Sequence[float]],
        validation_scores: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.loss_curves = loss_curves
        self.validation_scores = validation_scores

    def plot(self, ax: Any = None, *, log_scale: bool = False, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            None makes a figure. One axes takes the losses, or is divided if there are scores too;
            of two, the second takes the scores.
        log_scale : bool, default=False
            Whether the axis of the losses is logarithmic.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot` for each line.

        Returns
        -------
        display : TrainingDisplay
            This one.
        """
        scores = self.validation_scores or {}
        n_panels = 2 if scores else 1
        plt = _pyplot("TrainingDisplay.plot")
        self.ax_, self.axes_ = _panels(plt, ax, n_panels, n_panels, (5.0, 3.6), None)
        # The same model, the same colour in both panels, whichever of them have scores.
        colors = {name: f"C{i % 10}" for i, name in enumerate(self.loss_curves)}
        self.lines_ = []
        kinds = (("training loss", self.loss_curves), ("validation score", scores))
        for panel, (ylabel, curves) in zip(self.axes_.flat, kinds, strict=False):
            lines = []
            for name, curve in curves.items():
                style = {"color": colors.get(name, "black"), "label": name} | kwargs
                lines += panel.plot(np.arange(1, len(curve) + 1), curve, **style)
            panel.set(xlabel="epoch", ylabel=ylabel)
            panel.legend()
            self.lines_.append(lines)
        if log_scale:
            self.axes_.flat[0].set_yscale("log")
        self.figure_ = self.axes_.flat[0].figure
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        log_scale: bool = False,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves of one fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted MLPClassifier or MLPRegressor of nbnet or of scikit-learn.
        name : str, default=None
            Its name in the legend; None takes that of its class.
        log_scale, ax, **kwargs
            As in `plot`.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        ValueError
            If the model keeps no loss curve, as with ``solver="lbfgs"``.
        """
        name = type(estimator).__name__ if name is None else name
        return cls.from_estimators({name: estimator}, log_scale=log_scale, ax=ax, **kwargs)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        *,
        log_scale: bool = False,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves of several fitted models together.

        Parameters
        ----------
        estimators : dict of str to estimator, or sequence of estimators
            Fitted models by name. Those of a sequence are called by their class, with a number
            where several are of one class.
        log_scale, ax, **kwargs
            As in `plot`.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        ValueError
            If there are no models, or one keeps no loss curve, as with ``solver="lbfgs"``.
        """
        if not isinstance(estimators, Mapping):
            classes = [type(estimator).__name__ for estimator in estimators]
            estimators = {
                name if classes.count(name) == 1 else f"{name} {classes[:i].count(name) + 1}": model
                for i, (name, model) in enumerate(zip(classes, estimators, strict=True))
            }
        if not estimators:
            raise ValueError("estimators must hold at least one model, got none")
        for name, estimator in estimators.items():
            check_is_fitted(estimator)
            if not hasattr(estimator, "loss_curve_"):
                raise ValueError(
                    f"{name} has no loss_curve_: that is kept by an MLPClassifier or MLPRegressor "
                    f"with solver='adam' or 'sgd', got {estimator!r}"
                )
        display = cls(
            loss_curves={name: model.loss_curve_ for name, model in estimators.items()},
            validation_scores={
                name: model.validation_scores_
                for name, model in estimators.items()
                if getattr(model, "validation_scores_", None)
            },
        )
        return display.plot(ax, log_scale=log_scale, **kwargs)
