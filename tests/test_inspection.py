"""Pictures of fitted networks, and their linear regions against counts known or made naively."""

import sys

import matplotlib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier as SklearnMLPClassifier

from nbnet import MLPClassifier, MLPRegressor
from nbnet import graph as g
from nbnet.inspection import (
    HiddenUnitDisplay,
    TrainingDisplay,
    linear_regions,
    linear_regions_in_plane,
)

matplotlib.use("Agg")
import matplotlib.pyplot as plt

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SQUARE = [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]
BENT = ["relu", "leaky_relu", "abs", "maxout"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def with_weights(layers, dtype=np.float64, n_outputs=1, **parameters):
    """A regressor whose weights are these: [(W, b), ...]."""
    coefs, intercepts = zip(*((np.array(W), np.array(b)) for W, b in layers), strict=True)
    rows = np.zeros((2, len(coefs[0])), dtype)
    model = MLPRegressor(max_iter=1, random_state=0, **parameters)
    model.fit(rows, np.zeros((2, n_outputs))[:, : None if n_outputs > 1 else 1].squeeze())
    for old, new in zip(model.coefs_ + model.intercepts_, coefs + intercepts, strict=True):
        assert old.shape == new.shape
    model.coefs_ = [W.astype(dtype) for W in coefs]
    model.intercepts_ = [b.astype(dtype) for b in intercepts]
    return model


def fitted(activation, widths, dtype=np.float64, n_features=2, Estimator=MLPRegressor, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, (200, n_features)).astype(dtype)
    y = np.sin(4 * X[:, 0]) * X[:, -1]
    if Estimator is MLPClassifier:
        y = np.digitize(y, [-0.2, 0.2])
    return Estimator(
        hidden_layer_sizes=widths,
        activation=activation,
        pieces=3,
        solver="lbfgs",
        max_iter=15,  # so few that rounding is not amplified: the same kinks on every processor
        random_state=seed,
    ).fit(X, y)


def raw_outputs(model, X):
    net, params = model.to_network()
    return net.forward(params.astype(np.float64), X)


# --- Linear regions on a segment


def folding(depth, dtype=np.float64):
    """|..||x| - 1/2| - 1/4| ..|: each layer folds what the one before made."""
    layers = [([[1.0]], [-1 / 2**i]) for i in range(depth)]
    return with_weights(
        [*layers, ([[1.0]], [0.0])], dtype, hidden_layer_sizes=(1,) * depth, activation="abs"
    )


@DTYPES
@pytest.mark.parametrize("depth", [1, 2, 3, 6, 12])
def test_each_fold_doubles_the_pieces(depth, dtype):
    count, breakpoints = linear_regions(
        folding(depth, dtype), [0.0], [2.0], return_breakpoints=True
    )
    assert count == 2**depth
    np.testing.assert_allclose(breakpoints, np.arange(1, 2**depth) / 2**depth, rtol=1e-12)


@DTYPES
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_one_hidden_layer_has_a_piece_more_than_kinks_inside(activation, dtype):
    kinks = np.array([-3.0, -0.5, 0.125, 0.5, 0.75, 1.0, 7.0])  # two outside, one at the end
    model = with_weights(
        [(np.ones((1, 7)), -kinks), (np.ones((7, 1)), [0.0])],
        dtype,
        hidden_layer_sizes=(7,),
        activation=activation,
    )
    count, breakpoints = linear_regions(model, [-1.0], [1.0], return_breakpoints=True)
    assert type(count) is int
    assert count == 5
    np.testing.assert_allclose(breakpoints, (kinks[1:5] + 1) / 2)
    assert linear_regions(model, [1.0], [-1.0]) == 5
    assert linear_regions(model, [0.2], [0.3]) == linear_regions(model, [0.3], [0.3]) == 1


@DTYPES
def test_what_no_output_shows_is_not_counted(dtype):
    def pieces(second, bias, last):
        layers = [([[1.0, 1.0, -1.0]], [0.0, -0.5, 0.0]), (second, bias), (last, [0.0])]
        model = with_weights(layers, dtype, hidden_layer_sizes=(3, 2), activation="relu")
        return linear_regions(model, [-1.0], [1.0])

    both = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert pieces(both, [1.0, 1.0], [[1.0], [1.0]]) == 3
    assert pieces(both, [1.0, 1.0], [[1.0], [0.0]]) == 2  # no weight on the second
    assert pieces(both, [1.0, -2.0], [[1.0], [1.0]]) == 2  # the second is dead
    assert pieces(both, [1.0, 1.0], [[1.0], [1e-9]]) == 3  # small, but there
    # relu(x) - relu(-x) = x: two kinks in one place that cancel, also where 3 * 0.1 is not 0.3
    assert pieces([[1.0, 0.3], [0.0, 0.0], [-1.0, -0.3]], [2.0, 2.0], [[0.1], [7.0]]) == 1
    thrice = [[0.1, 0.0], [0.0, 0.2], [0.0, 0.0]]
    assert pieces(thrice, [1.0, 1.0], [[3.0], [0.0]]) == 2


@DTYPES
def test_maxout_kinks_only_where_the_largest_changes(dtype):
    # max(-x, 0.25 x + 0.1, x - 0.5): all pairs cross in [-1, 1], but only two on the envelope
    model = with_weights(
        [([[-1.0, 0.25, 1.0]], [0.0, 0.1, -0.5]), ([[1.0]], [0.0])],
        dtype,
        hidden_layer_sizes=(1,),
        activation="maxout",
        pieces=3,
    )
    count, breakpoints = linear_regions(model, [-1.0], [1.0], return_breakpoints=True)
    assert count == 3
    np.testing.assert_allclose(2 * breakpoints - 1, [-0.08, 0.8], rtol=1e-6)
    assert linear_regions_in_plane(model, [-1.0], [1.0], [-1.0]) == 3  # a plane squeezed flat


SAMPLES = 40_001


def naive_pieces(model, start, stop):
    """Runs of equal first differences over dense samples: what is between them is a kink."""
    t = np.linspace(0, 1, SAMPLES)[:, None]
    outputs = raw_outputs(model, start + t * (stop - start))
    second = np.abs(np.diff(outputs, 2, axis=0)).max(axis=1) > 1e-10
    # A kink between two samples shows in one or two second differences.
    return 1 + np.count_nonzero(second & ~np.concatenate([[False], second[:-1]]))


@DTYPES
@pytest.mark.parametrize("Estimator", [MLPRegressor, MLPClassifier])
@pytest.mark.parametrize("widths", [(7,), (5, 5), (6, 4, 5)])
@pytest.mark.parametrize("activation", BENT)
def test_count_equals_the_naive_count(activation, widths, Estimator, dtype):
    model = fitted(activation, widths, dtype, Estimator=Estimator)
    start, stop = np.array([-1.1, -0.9]), np.array([0.9, 1.2])
    count, breakpoints = linear_regions(model, start, stop, return_breakpoints=True)
    assert count == len(breakpoints) + 1 > 1
    # what samples cannot tell apart is one kink to them
    apart = np.count_nonzero(np.diff(breakpoints) > 3 / SAMPLES)
    assert apart + 2 == naive_pieces(model, start, stop)
    # between breakpoints the outputs are straight
    ends = np.array([0.0, *breakpoints, 1.0])
    a, b = ends[:-1, None], ends[1:, None]
    at = [raw_outputs(model, start + t * (stop - start)) for t in (a, (a + b) / 2, b)]
    np.testing.assert_allclose(at[0] + at[2], 2 * at[1], rtol=1e-9, atol=1e-11)


def test_straight_networks_have_one_piece():
    model = fitted("identity", (5, 5))
    assert linear_regions(model, [-1, -1], [1, 1]) == linear_regions_in_plane(model, *SQUARE) == 1


def residual(x):
    h = g.relu(g.dense(x, 6))
    h = g.leaky_relu(g.add(h, g.dense(h, 6)), negative_slope=1.5)
    return g.concat(g.maxout(h, 3, pieces=3), g.abs(g.dense(x, 2)), g.identity(h))


@DTYPES
def test_graphs_with_sums_and_branches(dtype):
    rng = np.random.RandomState(3)
    X = rng.uniform(-1, 1, (100, 2)).astype(dtype)
    model = MLPRegressor(architecture=residual, max_iter=5, random_state=2).fit(X, X.prod(axis=1))
    start, stop = np.array([-1.0, -0.7]), np.array([1.0, 0.8])
    count = linear_regions(model, start, stop)
    assert count == naive_pieces(model, start, stop) > 5
    check_polygons(model, *SQUARE)


# --- Linear regions in a plane


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_lines_in_general_position_make_known_regions(activation, n, dtype):
    # Tangents of a small circle, no two parallel: all of them cross each other inside the square.
    angle = 0.1 + np.pi * np.arange(n) / n
    model = with_weights(
        [
            (np.array([np.cos(angle), np.sin(angle)]), np.full(n, 0.05)),
            (np.arange(1.0, n + 1)[:, None], [0.0]),
        ],
        dtype,
        hidden_layer_sizes=(n,),
        activation=activation,
    )
    assert linear_regions_in_plane(model, *SQUARE) == 1 + n + n * (n - 1) // 2


@DTYPES
def test_folding_both_axes_makes_a_chessboard(dtype):
    depth = 3
    eye = np.eye(2)
    layers = [(eye, np.full(2, -1 / 2**i)) for i in range(depth)]
    model = with_weights(
        [*layers, ([[1.0], [3.0]], [0.0])],
        dtype,
        hidden_layer_sizes=(2,) * depth,
        activation="abs",
    )
    assert linear_regions_in_plane(model, [0, 0], [2, 0], [0, 2]) == 4**depth


@DTYPES
def test_regions_that_are_not_convex_and_regions_that_touch_at_a_point(dtype):
    # relu(relu(x) + relu(y) - 1/2): flat on an L of three quadrants and more, bent beyond it
    first = (np.eye(2), np.zeros(2))
    model = with_weights(
        [first, ([[1.0], [1.0]], [-0.5]), ([[1.0]], [0.0])],
        dtype,
        hidden_layer_sizes=(2, 1),
        activation="relu",
    )
    count, polygons, regions = linear_regions_in_plane(model, *SQUARE, return_polygons=True)
    assert count == 4  # flat; x alone; y alone; both
    assert len(polygons) > count
    areas = np.bincount(regions, [area(polygon) for polygon in polygons]) * 4
    np.testing.assert_allclose(np.sort(areas), [0.5, 0.5, 0.875, 2.125])
    # relu(x) + relu(y) - relu(x + y) bends along three lines through one point
    star = with_weights(
        [([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], np.zeros(3)), ([[1.0], [1.0], [-1.0]], [0.0])],
        dtype,
        hidden_layer_sizes=(3,),
        activation="relu",
    )
    assert linear_regions_in_plane(star, *SQUARE) == 6
    # |x| + |y| - |x + y| is zero on two quadrants that meet at a point: they are two regions
    star.activation = "abs"
    assert linear_regions_in_plane(star, *SQUARE) == 6


def area(polygon):
    x, y = polygon.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def contains(polygon, points):
    after = np.roll(polygon, -1, axis=0) - polygon
    to = points[:, None] - polygon
    return (after[:, 0] * to[..., 1] - after[:, 1] * to[..., 0] >= 0).all(axis=1)


def check_polygons(model, origin, first, second):
    """Polygons cover the square; outputs are affine on each region, and differ between regions."""
    count, polygons, regions = linear_regions_in_plane(
        model, origin, first, second, return_polygons=True
    )
    assert sorted(set(regions)) == list(range(count))
    areas = np.array([area(polygon) for polygon in polygons])
    assert areas.min() > 0
    np.testing.assert_allclose(areas.sum(), 1, rtol=1e-9)

    origin = np.asarray(origin)
    axes = np.array([first, second]) - origin
    net, params = model.to_network()
    params = params.astype(np.float64)
    centres = np.array([polygon.mean(axis=0) for polygon in polygons])
    X = origin + centres @ axes
    gradients = net.jacobian(params, X)
    offsets = net.forward(params, X) - np.einsum("nri,ni->nr", gradients, X)
    maps = np.concatenate([gradients.reshape(len(X), -1), offsets], axis=1)
    representative = np.unique(regions, return_index=True)[1]
    np.testing.assert_allclose(maps, maps[representative][regions], rtol=1e-7, atol=1e-9)

    # Along any line the pieces that the segment counts are the regions that it crosses.
    rng = np.random.RandomState(0)
    for a, b in rng.uniform(0, 1, (5, 2, 2)):
        pieces, breakpoints = linear_regions(
            model, origin + a @ axes, origin + b @ axes, return_breakpoints=True
        )
        ends = np.array([0.0, *breakpoints, 1.0])
        inside = np.concatenate([0.99 * ends[:-1] + 0.01 * ends[1:], (ends[:-1] + ends[1:]) / 2])
        points = a + inside[:, None] * (b - a)
        holds = np.array([contains(polygon, points) for polygon in polygons])
        assert holds.any(axis=0).all()
        near, middle = regions[holds.argmax(axis=0)].reshape(2, pieces)
        np.testing.assert_array_equal(near, middle)
        assert (middle[1:] != middle[:-1]).all()
    return count


@DTYPES
@pytest.mark.parametrize("Estimator", [MLPRegressor, MLPClassifier])
@pytest.mark.parametrize("widths", [(7,), (5, 5), (6, 4, 5)])
@pytest.mark.parametrize("activation", BENT)
def test_polygons_are_the_regions(activation, widths, Estimator, dtype):
    model = fitted(activation, widths, dtype, n_features=3, Estimator=Estimator)
    count = check_polygons(model, [-1, -1, 0.5], [1, -1, 0.1], [-1, 1, -0.5])
    assert count > 3


# --- What cannot be counted


@pytest.mark.parametrize("activation", ["tanh", "logistic", "softplus"])
def test_curved_units_are_refused_by_name(activation):
    model = fitted(["relu", activation], (3, 3))
    with pytest.raises(ValueError, match=f"linear_regions .*'h2' is {activation}"):
        linear_regions(model, [0, 0], [1, 1])
    with pytest.raises(ValueError, match=f"linear_regions_in_plane .*'h2' is {activation}"):
        linear_regions_in_plane(model, *SQUARE)


def gated(x):
    return g.multiply(g.dense(x, 3), g.dense(x, 3), name="gate")


def test_products_are_refused_by_name():
    X = np.random.RandomState(0).uniform(-1, 1, (20, 2))
    model = MLPRegressor(architecture=gated, max_iter=2, random_state=0).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="'gate' is multiply"):
        linear_regions(model, [0, 0], [1, 1])


def test_bad_points_and_models_are_refused():
    model = fitted("relu", (3,))
    with pytest.raises(ValueError, match=r"start must have shape \(2,\), got \(3,\)"):
        linear_regions(model, [0, 0, 0], [1, 1])
    with pytest.raises(ValueError, match=r"stop must have shape \(2,\), got \(1, 2\)"):
        linear_regions(model, [0, 0], [[1, 1]])
    with pytest.raises(ValueError, match="second must be finite"):
        linear_regions_in_plane(model, [0, 0], [1, 1], [np.nan, 1])
    with pytest.raises(NotFittedError):
        linear_regions(MLPRegressor(), [0], [1])
    with pytest.raises(TypeError, match="of nbnet"):
        linear_regions(SklearnMLPClassifier(), [0], [1])
    model.coefs_[0][0, 0] = np.inf
    with pytest.raises(ValueError, match="finite coefs_"):
        linear_regions(model, [0, 0], [1, 1])


# --- HiddenUnitDisplay

X, Y = load_iris(return_X_y=True)
FRAME = load_iris(as_frame=True).data


def iris(activation="relu", widths=(6, 5), **parameters):
    parameters = {"max_iter": 5, "random_state": 0, **parameters}
    return MLPClassifier(widths, activation, **parameters)


@DTYPES
@pytest.mark.parametrize(("layer", "width"), [(-1, 5), (0, 6), (1, 5), ("z1", 6)])
def test_panels_hold_the_units_activations(layer, width, dtype):
    model = iris().fit(X.astype(dtype), Y)
    display = HiddenUnitDisplay.from_estimator(
        model, X.astype(dtype), layer=layer, features=(2, 0), grid_resolution=7, eps=0.5
    )
    assert display.activations.shape == (width, 7, 7)
    assert display.activations.dtype == dtype
    assert display.units == list(range(width))
    a, b = np.linspace(X[:, 2].min() - 0.5, X[:, 2].max() + 0.5, 7)[[0, 3]], X[:, 0].max() + 0.5
    net, params = model.to_network()
    node = {-1: "h2", 0: "h1", 1: "h2", "z1": "z1"}[layer]
    for column, value in ((0, a[0]), (3, a[1])):
        row = X.astype(dtype).mean(axis=0)
        row[[2, 0]] = value, b
        expected = net.forward(params, row[None], node=node)[0]
        np.testing.assert_allclose(display.activations[:, -1, column], expected, 1e-4, 1e-5)


def test_display_draws_a_panel_for_each_unit():
    display = HiddenUnitDisplay.from_estimator(
        iris().fit(X, Y), X, layer=0, units=[4, 1, 0], grid_resolution=5, n_cols=2
    )
    assert isinstance(display.figure_, plt.Figure)
    assert display.axes_.shape == (2, 2)
    assert display.axes_[1, 1] is None
    panels = display.axes_.ravel()[:3]
    assert [panel.get_title() for panel in panels] == ["unit 4", "unit 1", "unit 0"]
    assert [panel.get_xlabel() for panel in panels] == ["", "feature 0", "feature 0"]
    assert [panel.get_ylabel() for panel in panels] == ["feature 1", "", "feature 1"]
    assert len(display.surfaces_) == 3
    assert {surface.norm.vmax for surface in display.surfaces_} == {display.surfaces_[0].norm.vmax}
    assert display.colorbar_.mappable is display.surfaces_[0]
    display.figure_.canvas.draw()


def test_names_of_columns_are_labels_and_features():
    model = iris().fit(FRAME, Y)
    names = list(FRAME.columns)
    display = HiddenUnitDisplay.from_estimator(
        model, FRAME, features=(names[3], 0), grid_resolution=4, units=[2]
    )
    assert display.ax_ is display.axes_[0, 0]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == (names[3], names[0])
    by_place = HiddenUnitDisplay.from_estimator(
        model, FRAME, features=(3, 0), grid_resolution=4, units=[2]
    )
    np.testing.assert_array_equal(display.activations, by_place.activations)


def test_a_model_set_to_make_data_frames_is_drawn_and_left_so():
    model = iris().fit(FRAME, Y).set_output(transform="pandas")
    draw = HiddenUnitDisplay.from_estimator
    for layer, width in ((0, 6), (-1, 5)):
        assert len(draw(model, FRAME, layer=layer, grid_resolution=3).activations) == width
    assert isinstance(model.transform(FRAME), type(FRAME))


@pytest.mark.parametrize("plot_method", ["contourf", "contour", "pcolormesh", "plot_surface"])
def test_plot_again_and_into_given_axes(plot_method):
    kind = {"projection": "3d"} if plot_method == "plot_surface" else {}
    model = iris(widths=(3,)).fit(X, Y)
    figure, ax = plt.subplots()
    display = HiddenUnitDisplay.from_estimator(
        model, X, grid_resolution=4, plot_method=plot_method, ax=ax, n_cols=2
    )
    assert (display.ax_, display.figure_) == (ax, figure)
    assert display.axes_.shape == (2, 2)
    assert (display.colorbar_ is None) == bool(kind)
    with pytest.raises(ValueError, match=r"ax=display\.axes_"):
        display.plot(plot_method, ax)

    before = display.axes_
    assert display.plot(plot_method) is display  # a new figure
    assert display.figure_ is not figure
    display.plot(plot_method, before.ravel()[:3])
    assert display.figure_ is figure
    assert display.ax_ is None
    assert display.colorbar_ is None
    _, mine = plt.subplots(1, 3, subplot_kw=kind)
    assert display.plot(plot_method, mine, alpha=0.5).axes_ is mine or (display.axes_ == mine).all()
    assert display.surfaces_[0].get_alpha() == 0.5
    with pytest.raises(ValueError, match="ax must be one axes or 3"):
        display.plot(plot_method, mine[:2])
    display.figure_.canvas.draw()


def test_dead_units_are_drawn_too():
    model = iris(widths=(2,)).fit(X, Y)
    model.intercepts_[0][:] = -1e6
    display = HiddenUnitDisplay.from_estimator(model, X, grid_resolution=3)
    assert not display.activations.any()
    display.figure_.canvas.draw()


def test_bad_requests_for_hidden_units_are_refused():
    model = iris().fit(X, Y)
    draw = HiddenUnitDisplay.from_estimator
    for features in ((0,), (0, 0), (1, -3), (0, 1, 2)):
        with pytest.raises(ValueError, match="features must be two different ones"):
            draw(model, X, features=features)
    with pytest.raises(ValueError, match="features must be below 4, got 4"):
        draw(model, X, features=(0, 4))
    with pytest.raises(ValueError, match=r"features must be among .*got 'petal'"):
        draw(model, X, features=(0, "petal"))
    with pytest.raises(ValueError, match=r"units must be among 0 to 4, got \[5\]"):
        draw(model, X, units=[5])
    with pytest.raises(ValueError, match="grid_resolution must be greater than 1, got 1"):
        draw(model, X, grid_resolution=1)
    with pytest.raises(ValueError, match="eps must be at least 0, got -1"):
        draw(model, X, eps=-1)
    with pytest.raises(ValueError, match=r"plot_method must be one of .*got 'pie'"):
        draw(model, X, plot_method="pie")
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 4\), got \(150, 3\)"):
        draw(model, X[:, :3])
    with pytest.raises(ValueError, match="projection='3d'"):
        draw(model, X, units=[0], plot_method="plot_surface", ax=plt.figure().add_subplot())
    with pytest.raises(NotFittedError):
        draw(iris(), X)
    with pytest.raises(TypeError, match="of nbnet"):
        draw(SklearnMLPClassifier(), X)


# --- TrainingDisplay


@pytest.mark.parametrize("Estimator", [MLPClassifier, SklearnMLPClassifier])
def test_training_display_draws_the_loss_curve(Estimator):
    model = Estimator((4,), max_iter=6, random_state=0).fit(X, Y)
    display = TrainingDisplay.from_estimator(model, name="mine", log_scale=True, linewidth=3)
    ((line,),) = display.lines_
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 7))
    np.testing.assert_array_equal(line.get_ydata(), model.loss_curve_)
    assert line.get_linewidth() == 3
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["mine"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "training loss")
    assert display.ax_.get_yscale() == "log"
    assert display.figure_ is display.ax_.figure

    _, ax = plt.subplots()
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert ax.get_yscale() == "linear"


def test_validation_scores_have_a_panel_of_their_own():
    models = {
        "early": iris(early_stopping=True, validation_fraction=0.2).fit(X, Y),
        "late": iris().fit(X, Y),
        "scikit-learn": SklearnMLPClassifier(early_stopping=True, max_iter=4).fit(X, Y),
    }
    display = TrainingDisplay.from_estimators(models)
    assert display.axes_.shape == (1, 2)
    losses, scores = display.lines_
    assert [line.get_label() for line in losses] == list(models)
    assert [line.get_label() for line in scores] == ["early", "scikit-learn"]
    assert scores[1].get_color() == losses[2].get_color()
    np.testing.assert_array_equal(scores[0].get_ydata(), models["early"].validation_scores_)
    _, pair = plt.subplots(2)
    display.plot(pair)
    assert display.ax_ is None
    assert display.axes_[1].get_ylabel() == "validation score"


def test_models_of_a_list_are_called_by_their_class():
    models = [iris().fit(X, Y), SklearnMLPClassifier(max_iter=2).fit(X, Y), iris().fit(X, Y)]
    models.append(MLPRegressor(max_iter=2).fit(X, Y))
    display = TrainingDisplay.from_estimators(models)
    assert list(display.loss_curves) == [
        "MLPClassifier 1",
        "MLPClassifier 2",
        "MLPClassifier 3",
        "MLPRegressor",
    ]


@pytest.mark.parametrize("Estimator", [MLPClassifier, SklearnMLPClassifier])
def test_models_without_a_curve_are_refused(Estimator):
    model = Estimator(solver="lbfgs", max_iter=3).fit(X, Y)
    with pytest.raises(ValueError, match=r"MLPClassifier has no loss_curve_.*solver='adam'"):
        TrainingDisplay.from_estimator(model)
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(Estimator())
    with pytest.raises(ValueError, match="at least one model"):
        TrainingDisplay.from_estimators([])


def test_import_of_nbnet_imports_neither_inspection_nor_matplotlib(run_python):
    program = "import sys, nbnet; print({'nbnet.inspection', 'matplotlib'} & set(sys.modules))"
    assert run_python("-c", program).strip() == "set()"
    program = "import sys, nbnet.inspection; print('matplotlib' in sys.modules)"
    assert run_python("-c", program).strip() == "False"


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    model = iris().fit(X, Y)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"TrainingDisplay.plot needs matplotlib.*nbnet\[plot\]"):
        TrainingDisplay.from_estimator(model)
    with pytest.raises(ImportError, match=r"HiddenUnitDisplay.plot needs matplotlib"):
        HiddenUnitDisplay.from_estimator(model, X)


# --- The chapter's claims about hidden units (Goodfellow et al., 2016, section 6.3)


def weights(rng, fan_in, width, dtype):
    return rng.normal(size=(fan_in, width)).astype(dtype), rng.normal(size=width).astype(dtype)


@DTYPES
@pytest.mark.parametrize(
    ("activation", "slope"), [("relu", 0.0), ("leaky_relu", 0.25), ("abs", -1)]
)
def test_maxout_of_two_pieces_is_relu_leaky_relu_and_abs(activation, slope, dtype):
    """max(z, slope * z), which is exact where multiplying by the slope is (0, -1, a quarter)."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(500, 5)).astype(dtype)
    (W, b), last = weights(rng, 5, 8, dtype), weights(rng, 8, 1, dtype)
    common = {"dtype": dtype, "hidden_layer_sizes": (8,)}
    unit = with_weights([(W, b), last], activation=activation, negative_slope=0.25, **common)
    both = np.stack([W, slope * W], axis=2).reshape(5, 16), np.stack([b, slope * b], 1).ravel()
    maxout = with_weights([both, last], activation="maxout", **common)
    np.testing.assert_array_equal(maxout.transform(rows), unit.transform(rows))
    np.testing.assert_array_equal(maxout.predict(rows), unit.predict(rows))


@DTYPES
def test_maxout_is_leaky_relu_up_to_rounding_of_the_slope(dtype):
    """The chapter's slope, 0.01: (0.01 w) x + 0.01 b is 0.01 (w x + b), each term rounded."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(500, 5)).astype(dtype)
    (W, b), last = weights(rng, 5, 8, dtype), weights(rng, 8, 1, dtype)
    common = {"dtype": dtype, "hidden_layer_sizes": (8,)}
    leaky = with_weights([(W, b), last], activation="leaky_relu", **common)
    a = dtype(0.01)
    both = np.stack([W, a * W], axis=2).reshape(5, 16), np.stack([b, a * b], axis=1).ravel()
    maxout = with_weights([both, last], activation="maxout", **common)
    difference = np.abs(maxout.transform(rows) - leaky.transform(rows))
    terms = np.abs(rows) @ np.abs(W) + np.abs(b)
    assert (difference <= 8 * np.finfo(dtype).eps * a * terms).all()


def test_maxout_learns_a_convex_function_better_with_more_pieces():
    rng = np.random.RandomState(0)
    rows = rng.uniform(-1, 1, (500, 4))
    y = (rows**2).sum(axis=1)
    errors = []
    for pieces in (2, 4, 8, 16):
        model = MLPRegressor(
            hidden_layer_sizes=(1,), activation="maxout", pieces=pieces, solver="lbfgs", alpha=0
        )
        # A unit that starts with a negative weight on top is concave, and may stay so: more starts.
        starts = (model.set_params(random_state=seed).fit(rows, y).loss_ for seed in range(8))
        errors.append(2 * min(starts) / y.var())
    assert errors[0] > 1.4 * errors[1] > 1.4**2 * errors[2] > 1.4**3 * errors[3]


def gradient_sizes(activation, depth=10, width=64):
    """Mean square of dJ/dh for each hidden layer of an untrained network, first to last."""
    rng = np.random.RandomState(0)
    net = g.Network(g.mlp(width, [(activation, width)] * depth, 1))
    rows, y = rng.normal(size=(200, width)), rng.normal(size=200)
    names = [f"h{i}" for i in range(1, depth + 1)]
    gradients = net.gradients(net.init(0), rows, y, wrt=names)
    return np.array([np.mean(gradient**2) for gradient in gradients])


def test_gradients_flow_through_linear_units_and_fade_in_logistic_ones():
    """Section 6.3.2: the logistic unit's slope is at most 1/4, and each layer multiplies by it."""
    kept = {a: (s := gradient_sizes(a))[0] / s[-1] for a in ("logistic", "tanh", "maxout")}
    for activation in ("relu", "leaky_relu", "abs", "identity"):
        sizes = gradient_sizes(activation)
        kept[activation] = sizes[0] / sizes[-1]
    # through 9 layers
    assert kept["logistic"] < 1e-8
    assert kept["identity"] > 0.1
    assert kept["maxout"] > 0.1
    assert kept["abs"] > 0.1
    assert kept["logistic"] < kept["relu"] <= kept["leaky_relu"] < kept["abs"]
