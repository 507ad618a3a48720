"""The linear regions of a fitted rectifier or maxout network, counted exactly.

How `linear_regions` and `linear_regions_in_plane` count:

a. A network of affine maps and of units with straight pieces is an affine map on each cell of some
   division of its domain into convex cells: intervals, or polygons. The division starts as one cell
   and is refined node by node: a node with kinks cuts each cell where a unit of it has one. A cell
   holds the affine map of every node so far, so cuts are found by solving linear equations, never
   by sampling.
b. Not every cut shows in the output: a later unit may be dead there, or a weight zero. So for each
   two neighbouring cells the *jump* of the gradient between them is carried through the network.
   It is computed by itself, not as a difference of two gradients, so that a jump that vanishes does
   so exactly, and one of a billionth of the gradient is still seen. Cells without a jump between
   them are one region.
c. All is done in float64 whatever the dtype of the model. A sum that cancels to ``_ZERO`` of the
   sum of its terms' absolute values is taken for zero, and points of the domain (of length 1)
   closer than that for one: far above the rounding error of a sum of a few thousand terms, far
   below what the weights of a fitted network leave to chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, overload

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils.validation import check_is_fitted

from nbnet.graph import Node

__all__ = ["check_estimator", "linear_regions", "linear_regions_in_plane"]

_ZERO = 2.0**-40  # about 1e-12


def _rounded(value: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """`value` with zeros where it is what rounding leaves of terms of this `magnitude`."""
    return np.where(np.abs(value) <= _ZERO * magnitude, 0.0, value)


# --- The network as steps of two kinds: what is linear, and what bends


@dataclass(frozen=True)
class _Op:
    """One step of a piecewise-linear network; its value on a cell is an affine map of the domain.

    A value is an array (Q, 1 + d, width) for Q cells of a d-dimensional domain: the constant, then
    the gradient. Of jumps, (E, d, width) for E pairs of cells, only the gradient is there.

    Attributes
    ----------
    op : {"affine", "add", "concat", "bend"}
    inputs : tuple of int
        Earlier values that it is computed from; value 0 is the network's input.
    affine : ((fan_in, width) array, (width,) array) or None
        Weights and bias of an affine step.
    derivatives : (K,) array or None
        Of a step that bends: the derivatives left and right of zero; None for a maximum over
        pieces.
    pieces : int
        K.
    """

    op: str
    inputs: tuple[int, ...]
    affine: tuple[np.ndarray, np.ndarray] | None = None
    derivatives: np.ndarray | None = None
    pieces: int = 2

    def linear(self, values: Sequence[np.ndarray], constant: bool) -> np.ndarray:
        """The value of a step that does not bend, `constant` saying whether values hold one."""
        inputs = [values[i] for i in self.inputs]
        if self.op == "concat":
            return np.concatenate(inputs, axis=-1)
        if self.affine is not None:
            weights, bias = self.affine
            value, magnitude = inputs[0] @ weights, np.abs(inputs[0]) @ np.abs(weights)
            if constant:
                value[:, 0] += bias
                magnitude[:, 0] += np.abs(bias)
        else:
            value = inputs[0] + inputs[1]
            magnitude = np.abs(inputs[0]) + np.abs(inputs[1])
        return _rounded(value, magnitude)

    def functions(self, z: np.ndarray) -> np.ndarray:
        """The K maps (..., width, K) of which each unit takes one."""
        if self.derivatives is None:
            return z.reshape(*z.shape[:-1], z.shape[-1] // self.pieces, self.pieces)
        return z[..., None] * self.derivatives

    def rivals(self, z: np.ndarray) -> np.ndarray:
        """The K maps (..., width, K) the largest of which says which one that is."""
        return (
            self.functions(z) if self.derivatives is None else z[..., None] * np.array([0.0, 1.0])
        )


_DERIVATIVES: dict[str, Callable[[float], tuple[float, float]]] = {
    "relu": lambda a: (0.0, 1.0),
    "leaky_relu": lambda a: (a, 1.0),
    "abs": lambda a: (-1.0, 1.0),
}


def _steps(caller: str, estimator: Any) -> tuple[list[_Op], int]:
    """The steps of a fitted estimator's raw outputs, and its number of features."""
    check_estimator(caller, estimator)
    net, params = estimator.to_network()
    if not np.isfinite(params).all():
        raise ValueError(f"{caller} needs finite coefs_ and intercepts_")
    weights = zip(*net.unpack(np.asarray(params, dtype=np.float64)), strict=True)
    steps: list[_Op] = []
    place: dict[Node, int] = {}
    for i, node in enumerate(net.nodes):
        inputs = tuple(place[parent] for parent in node.inputs)
        if node.op in ("dense", "maxout"):
            steps.append(_Op("affine", inputs, next(weights)))
            if node.op == "maxout":
                steps.append(_Op("bend", (len(steps),), pieces=node.pieces))
        elif node.op in ("add", "concat"):
            steps.append(_Op(node.op, inputs))
        elif node.activation == "identity" or node.op == "dropout":
            (place[node],) = inputs
            continue
        elif node.activation in _DERIVATIVES:
            derivatives = np.array(
                _DERIVATIVES[node.activation](node.numbers.get("negative_slope", 0.0))
            )
            steps.append(_Op("bend", inputs, derivatives=derivatives))
        elif node.op != "input":
            name = f"node {i}" if node.name is None else f"node {node.name!r}"
            raise ValueError(
                f"{caller} needs a piecewise-linear network: dense, maxout, add, concat and the "
                f"activations identity, {', '.join(_DERIVATIVES)}; {name} is {node.kind}"
            )
        place[node] = len(steps)
    return steps, net.n_features


def check_estimator(caller: str, estimator: Any) -> None:
    """Refuse what is not a fitted estimator of nbnet."""
    if not hasattr(estimator, "to_network"):
        raise TypeError(
            f"{caller} needs an MLPClassifier or MLPRegressor of nbnet, got {estimator!r}"
        )
    check_is_fitted(estimator)


# --- The domain in cells


@dataclass(frozen=True)
class _Intervals:
    """Cells of [0, 1]: between each two neighbours among `ends` (Q + 1,)."""

    ends: np.ndarray

    def inside(self) -> np.ndarray:
        """One point of each cell, as (1, t): (Q, 2)."""
        middle = (self.ends[:-1] + self.ends[1:]) / 2
        return np.stack([np.ones_like(middle), middle], axis=1)

    def cut(self, rivals: np.ndarray) -> tuple[_Intervals, np.ndarray]:
        """Cells on each of which one of K `rivals` (Q, 2, width, K) is the largest throughout.

        Also returns of which cell each is a part, (new Q,).
        """
        left, right = self.ends[:-1, None], self.ends[1:, None]
        found = []
        for j, k in combinations(range(rivals.shape[-1]), 2):
            one, other = rivals[..., j], rivals[..., k]
            ahead = _rounded(one - other, np.abs(one) + np.abs(other))
            size = np.abs(ahead)
            a, b = (
                _rounded(ahead[:, 0] + t * ahead[:, 1], size[:, 0] + t * size[:, 1])
                for t in (left, right)
            )
            cell, unit = np.nonzero(np.sign(a) * np.sign(b) < 0)
            a, b = a[cell, unit], b[cell, unit]
            t = left[cell, 0] + (right - left)[cell, 0] * (a / (a - b))
            # Where the two meet below a third there is no kink.
            constant, slope = rivals[cell, 0, unit], rivals[cell, 1, unit]
            constant, slope = (
                constant[:, j, None] - constant,
                (slope[:, j, None] - slope) * t[:, None],
            )
            lead = _rounded(constant + slope, np.abs(constant) + np.abs(slope))
            found.append(t[(lead >= 0).all(axis=1)])
        new = np.sort(np.concatenate(found))
        new = new[np.diff(new, prepend=-1) > _ZERO]
        after = np.searchsorted(self.ends, new)
        apart = np.minimum(new - self.ends[after - 1], self.ends[after] - new) > _ZERO
        cells = _Intervals(np.sort(np.concatenate([self.ends, new[apart]])))
        return cells, np.searchsorted(self.ends, cells.inside()[:, 1]) - 1

    def neighbours(self) -> np.ndarray:
        """Pairs of cells (E, 2) with an end in common."""
        return np.stack([np.arange(len(self.ends) - 2), np.arange(1, len(self.ends) - 1)], axis=1)


@dataclass(frozen=True)
class _Polygon:
    """A convex cell of [0, 1]²: corners (m, 2), anticlockwise; `edges[i]` goes on from corner i.

    Edges are known by the cut that made them, so that neighbours are found without geometry.
    """

    corners: np.ndarray
    edges: tuple[Any, ...]

    def points(self) -> np.ndarray:
        """The corners as (1, s, t): (m, 3)."""
        return np.column_stack([np.ones(len(self.corners)), self.corners])

    def part(self, ahead: np.ndarray, edge: Any, ties: bool) -> _Polygon | None:
        """The part where the affine map `ahead` (3,) is positive, its new edge called `edge`.

        Where the map is zero throughout, `ties` says whether that counts.
        """
        points = self.points()
        value = _rounded(points @ ahead, np.abs(points) @ np.abs(ahead))
        if value.max() <= 0:
            return self if ties and not value.any() else None
        if value.min() >= 0:
            return self
        corners, edges = [], []
        for i, (a, b) in enumerate(zip(value, np.roll(value, -1), strict=True)):
            if a >= 0:
                corners.append(self.corners[i])
                edges.append(edge if a == 0 and b < 0 else self.edges[i])
            if a * b < 0:
                step = self.corners[(i + 1) % len(value)] - self.corners[i]
                corners.append(self.corners[i] + step * (a / (a - b)))
                edges.append(edge if a > 0 else self.edges[i])
        return _Polygon(np.array(corners), tuple(edges))


@dataclass(frozen=True)
class _Polygons:
    """Cells of [0, 1]²."""

    cells: tuple[_Polygon, ...]
    cuts: int = 0  # how often `cut` was called, for names of edges

    def inside(self) -> np.ndarray:
        """One point of each cell, as (1, s, t): (Q, 3)."""
        return np.array([cell.points().mean(axis=0) for cell in self.cells])

    def cut(self, rivals: np.ndarray) -> tuple[_Polygons, np.ndarray]:
        """As `_Intervals.cut`, `rivals` being (Q, 3, width, K)."""
        n_rivals = rivals.shape[-1]
        cells: list[_Polygon] = []
        parents: list[int] = []
        for q, (cell, maps) in enumerate(zip(self.cells, rivals, strict=True)):
            points = cell.points()
            values = np.tensordot(points, maps, axes=1)
            best = np.expand_dims(values.mean(axis=0).argmax(axis=-1), (0, 2))
            behind = values - np.take_along_axis(values, best, axis=-1)
            parts = [cell]
            for unit in np.nonzero((behind > 0).any(axis=(0, 2)))[0]:
                ahead = maps[:, unit, :, None] - maps[:, unit, None, :]
                sizes = np.abs(maps[:, unit, :, None]) + np.abs(maps[:, unit, None, :])
                ahead = _rounded(ahead, sizes)
                names = (self.cuts, q, unit)
                parts = [
                    part
                    for whole in parts
                    for j in range(n_rivals)
                    for part in _where_largest(whole, j, ahead[:, j], names)
                ]
            cells += parts
            parents += [q] * len(parts)
        return _Polygons(tuple(cells), self.cuts + 1), np.array(parents)

    def neighbours(self) -> np.ndarray:
        """Pairs of cells (E, 2) with more than a point in common."""
        sides = defaultdict(list)
        for q, cell in enumerate(self.cells):
            for i, edge in enumerate(cell.edges):
                if edge is not None:
                    ends = cell.corners[i], cell.corners[(i + 1) % len(cell.edges)]
                    sides[edge].append((q, *ends))
        pairs = [pair for side in sides.values() for pair in _touching(side)]
        return np.array(pairs, dtype=int).reshape(-1, 2)


def _where_largest(
    cell: _Polygon, j: int, ahead: np.ndarray, names: tuple[Any, ...]
) -> Iterator[_Polygon]:
    """The part of `cell` where rival j is the largest, `ahead` (3, K) being its leads; or none."""
    part: _Polygon | None = cell
    for k in range(ahead.shape[1]):
        if k != j and part is not None:
            part = part.part(ahead[:, k], (*names, min(j, k), max(j, k)), ties=j < k)
    if part is not None:
        yield part


def _touching(sides: list[tuple[int, np.ndarray, np.ndarray]]) -> Iterator[tuple[int, int]]:
    """Pairs of cells that lie on two sides of one line, along which each has an edge.

    Corners go round anticlockwise, hence edges on one side of the line run one way, and on the
    other side the other way.
    """
    _, start, stop = max(sides, key=lambda side: float(np.abs(side[2] - side[1]).max()))
    direction = (stop - start) / np.linalg.norm(stop - start)
    there, back = [], []
    for q, start, stop in sides:
        a, b = float(start @ direction), float(stop @ direction)
        if a < b:
            there.append((a, b, q))
        else:
            back.append((b, a, q))
    there.sort()
    back.sort()
    i = j = 0
    while i < len(there) and j < len(back):
        (a, b, one), (c, d, other) = there[i], back[j]
        if min(b, d) - max(a, c) > _ZERO:
            yield one, other
        if b < d:
            i += 1
        else:
            j += 1


# --- Counting


def _pick(functions: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Of K maps (Q, rows, width, K) the ones chosen (Q, width): (Q, rows, width)."""
    return np.take_along_axis(functions, choice[:, None, :, None], axis=-1)[..., 0]


def _regions(
    steps: Sequence[_Op], entry: np.ndarray, cells: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    """The cells of the network, the pairs of neighbours, and between which of them it bends.

    Parameters
    ----------
    steps : sequence of _Op
    entry : (1 + d, I) array
        The affine map from the domain to the network's input.
    cells : _Intervals or _Polygons
        The whole domain as one cell.

    Returns
    -------
    cells : _Intervals or _Polygons
    pairs : (E, 2) array
    bends : (E,) array of bool
    """
    values = [entry[None]]
    for step in steps:
        if step.op != "bend":
            values.append(step.linear(values, constant=True))
            continue
        cells, parents = cells.cut(step.rivals(values[step.inputs[0]]))
        values = [value[parents] for value in values]
        z = values[step.inputs[0]]
        values.append(_pick(step.functions(z), _choices(step, z, cells.inside())))

    pairs = cells.neighbours()
    one, other = pairs.T
    inside = cells.inside()
    jumps = [np.zeros((len(pairs), *entry[1:].shape))]
    for step in steps:
        if step.op != "bend":
            jumps.append(step.linear(jumps, constant=False))
            continue
        z = values[step.inputs[0]]
        chosen = _choices(step, z, inside)
        near, far = chosen[one], chosen[other]
        # The jump of the map chosen here, and from the map chosen there to it where they differ.
        gradients = step.functions(z[other, 1:])
        carried = _pick(step.functions(jumps[step.inputs[0]]), near)
        to, since = (np.where((near != far)[:, None], _pick(gradients, c), 0) for c in (near, far))
        size = np.abs(carried) + np.abs(to) + np.abs(since)
        jumps.append(_rounded(carried + (to - since), size))
    return cells, pairs, np.any(jumps[-1] != 0, axis=(1, 2))


def _choices(step: _Op, z: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Which of its maps each unit takes on each cell, (Q, width); told by one point inside."""
    chosen: np.ndarray = np.einsum("qr,qrwk->qwk", inside, step.rivals(z)).argmax(axis=-1)
    return chosen


def _point(name: str, point: Any, n_features: int) -> np.ndarray:
    point = np.asarray(point, dtype=np.float64)
    if point.shape != (n_features,):
        raise ValueError(f"{name} must have shape ({n_features},), got {point.shape}")
    if not np.isfinite(point).all():
        raise ValueError(f"{name} must be finite, got {point}")
    return point


@overload
def linear_regions(
    estimator: Any, start: Any, stop: Any, *, return_breakpoints: Literal[False] = False
) -> int: ...
@overload
def linear_regions(
    estimator: Any, start: Any, stop: Any, *, return_breakpoints: Literal[True]
) -> tuple[int, np.ndarray]: ...
def linear_regions(
    estimator: Any, start: Any, stop: Any, *, return_breakpoints: bool = False
) -> int | tuple[int, np.ndarray]:
    """Count the linear pieces of a fitted network on the segment between two inputs.

    Exact, without sampling, for networks of dense layers, maxout, sums, concatenations and the
    activations identity, ReLU, leaky ReLU and absolute value: along the segment each node is a
    piecewise-linear function of t in [0, 1], whose breakpoints are computed node by node. Where the
    raw outputs do not bend, a breakpoint of a hidden unit does not count, nor does a dead unit.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted. Of a classifier the raw outputs are meant, before softmax or logistic.
    start, stop : array-like of shape (n_features,)
        Inputs at t = 0 and t = 1.
    return_breakpoints : bool, default=False
        Whether to return where the pieces meet, too.

    Returns
    -------
    count : int
        At least 1.
    breakpoints : (count - 1,) ndarray
        Ascending values of t, all between 0 and 1; the input there is ``start + t * (stop -
        start)``. Only with `return_breakpoints`.

    Raises
    ------
    ValueError
        If a node of the network is not piecewise linear (the message names it), or a point has the
        wrong shape or is not finite.

    See Also
    --------
    linear_regions_in_plane : The same between three inputs.

    Notes
    -----
    Computed in float64. A sum counts as zero if it is below 2^-40 of the sum of its terms' absolute
    values, and breakpoints closer than 2^-40 count as one; only networks made by hand come near.

    References
    ----------
    Montúfar, Pascanu, Cho and Bengio, "On the number of linear regions of deep neural networks"
    (NIPS, 2014).

    Examples
    --------
    >>> import numpy as np
    >>> from nbnet import MLPRegressor
    >>> from nbnet.inspection import linear_regions
    >>> X = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> model = MLPRegressor(hidden_layer_sizes=1, activation="abs", solver="lbfgs", random_state=0)
    >>> linear_regions(model.fit(X, abs(X[:, 0] - 0.5)), [-1.0], [1.0])
    2
    """
    steps, n_features = _steps("linear_regions", estimator)
    start, stop = _point("start", start, n_features), _point("stop", stop, n_features)
    domain = _Intervals(np.array([0.0, 1.0]))
    cells, _, bends = _regions(steps, np.stack([start, stop - start]), domain)
    breakpoints = cells.ends[1:-1][bends]
    count = len(breakpoints) + 1
    return (count, breakpoints) if return_breakpoints else count


@overload
def linear_regions_in_plane(
    estimator: Any,
    origin: Any,
    first: Any,
    second: Any,
    *,
    return_polygons: Literal[False] = False,
) -> int: ...
@overload
def linear_regions_in_plane(
    estimator: Any, origin: Any, first: Any, second: Any, *, return_polygons: Literal[True]
) -> tuple[int, list[np.ndarray], np.ndarray]: ...
def linear_regions_in_plane(
    estimator: Any, origin: Any, first: Any, second: Any, *, return_polygons: bool = False
) -> int | tuple[int, list[np.ndarray], np.ndarray]:
    """Count the linear regions of a fitted network in the parallelogram between three inputs.

    Its points are ``origin + s * (first - origin) + t * (second - origin)`` with s and t in [0, 1].
    A region is a part, connected by more than single points, on which the raw outputs are one
    affine map of s and t. Exact, as `linear_regions` is: polygons are cut along the kinks of each
    unit, node by node, and neighbours between which the outputs do not bend count once.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted; which networks are admitted is said at `linear_regions`.
    origin, first, second : array-like of shape (n_features,)
        Inputs at (s, t) = (0, 0), (1, 0) and (0, 1).
    return_polygons : bool, default=False
        Whether to return the regions, too.

    Returns
    -------
    count : int
        At least 1.
    polygons : list of (m, 2) ndarrays
        Corners (s, t), anticlockwise, of convex polygons that together cover the unit square. Only
        with `return_polygons`.
    regions : (len(polygons),) ndarray of int
        The region, from 0 to count - 1, that each polygon belongs to: a region that is not convex
        has several. Only with `return_polygons`.

    Raises
    ------
    ValueError
        As `linear_regions`.

    See Also
    --------
    linear_regions : The same on a segment, faster.

    References
    ----------
    Montúfar, Pascanu, Cho and Bengio, "On the number of linear regions of deep neural networks"
    (NIPS, 2014).

    Examples
    --------
    >>> import numpy as np
    >>> from nbnet import MLPRegressor
    >>> from nbnet.inspection import linear_regions_in_plane
    >>> X = np.random.RandomState(0).uniform(-1, 1, (200, 2))
    >>> model = MLPRegressor(hidden_layer_sizes=3, solver="lbfgs", random_state=0)
    >>> model = model.fit(X, X[:, 0] * X[:, 1])
    >>> linear_regions_in_plane(model, [-1, -1], [1, -1], [-1, 1]) <= 7  # 3 lines make at most 7
    True
    """
    steps, n_features = _steps("linear_regions_in_plane", estimator)
    points = {"origin": origin, "first": first, "second": second}
    start, *ends = (_point(name, point, n_features) for name, point in points.items())
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    domain = _Polygons((_Polygon(square, (None,) * 4),))
    entry = np.stack([start, *(end - start for end in ends)])
    cells, pairs, bends = _regions(steps, entry, domain)
    one, other = pairs[~bends].T
    n_cells = len(cells.cells)
    links = coo_array((np.ones(len(one)), (one, other)), shape=(n_cells, n_cells))
    count, regions = connected_components(links, directed=False)
    if not return_polygons:
        return int(count)
    return int(count), [cell.corners for cell in cells.cells], regions
