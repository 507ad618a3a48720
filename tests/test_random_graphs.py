"""Any directed acyclic graph: random ones against the naive twin and against random projections.

A random projection compares g · v, with g the gradient and v a random direction, with the
derivative of the loss along v: a few evaluations of the loss whatever the number of parameters, and
a fault in any op, in the order of the ops or in a sum over paths shows.
"""

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import finite_differences
import naive
from nbnet import graph as g
from nbnet.graph.network import Network
from nbnet.kernels.activations import ACTIVATIONS
from nbnet.kernels.entry import BLOCK
from nbnet.kernels.machine.vectors import DEPTH
from nbnet.kernels.records import NODE_COLUMNS, OP_COLUMNS, TASK_COLUMNS
from problems import (
    DTYPES,
    KINKS,
    NODE_OPS,
    assert_close,
    build,
    losses_of,
    settings_of,
    tame_targets,
    targets,
    tiny,
)

pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("guarded_buffers")]

EXAMPLES = 40 if numba.config.DISABLE_JIT else 150


# How to draw a node of each op, given those there are. ----------------------------------------


def draw_dense(draw, nodes, name):
    return g.dense(draw(st.sampled_from(nodes)), draw(st.integers(1, 5)), name=name)


def draw_activation(draw, nodes, name):
    activation = draw(st.sampled_from(sorted(ACTIVATIONS)))
    node = draw(st.sampled_from(nodes))
    if activation == "leaky_relu":
        return g.leaky_relu(node, negative_slope=draw(st.sampled_from([0.0, 0.01, 0.5, 1.0])))
    return getattr(g, activation)(node)


def draw_maxout(draw, nodes, name):
    node, width = draw(st.sampled_from(nodes)), draw(st.integers(1, 4))
    return g.maxout(node, width, pieces=draw(st.integers(2, 4)), name=name)


def draw_alike(draw, nodes):
    """Two or three nodes of one width, which may be one and the same node."""
    first = draw(st.sampled_from(nodes))
    alike = [node for node in nodes if node.width == first.width]
    return [first, *draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2))]


def draw_add(draw, nodes, name):
    return g.add(*draw_alike(draw, nodes))


def draw_multiply(draw, nodes, name):
    return g.multiply(*draw_alike(draw, nodes))


def draw_concat(draw, nodes, name):
    return g.concat(*draw(st.lists(st.sampled_from(nodes), min_size=2, max_size=3)))


def draw_dropout(draw, nodes, name):
    return g.dropout(draw(st.sampled_from(nodes)), draw(st.sampled_from([0.0, 0.3])))


def draw_layer_norm(draw, nodes, name):
    """With an epsilon that keeps rows of nearly equal numbers from being blown up."""
    epsilon = draw(st.sampled_from([0.25, 1.0]))
    return g.layer_norm(draw(st.sampled_from(nodes)), epsilon=epsilon, name=name)


DRAW = {
    "dense": draw_dense,
    "activation": draw_activation,
    "maxout": draw_maxout,
    "add": draw_add,
    "multiply": draw_multiply,
    "concat": draw_concat,
    "dropout": draw_dropout,
    "layer_norm": draw_layer_norm,
}


def test_every_op_is_drawn_and_has_a_naive_twin():
    assert naive.missing("OPS", NODE_OPS) == []
    assert sorted(set(NODE_OPS) - set(DRAW)) == []


@st.composite
def outputs(draw):
    """The output node of a random graph; nodes that do not lead to it are dead branches."""
    nodes = [g.input(draw(st.integers(1, 4)), name="x")]
    for i in range(draw(st.integers(1, 9))):
        op = draw(st.sampled_from(sorted(DRAW)))
        nodes.append(DRAW[op](draw, nodes, f"{op}{i}"))
    last = nodes[-1]
    return g.dense(last, draw(st.integers(1, 3)), name="output") if draw(st.booleans()) else last


@st.composite
def outputs_and_losses(draw):
    """A random graph and a loss that its number of raw outputs fits."""
    output = draw(outputs())
    return output, draw(st.sampled_from(sorted(losses_of(output.width))))


def moderate(twin, params, X):
    """Whether no value is large: products of products may grow without end, and exp even faster."""
    return all(np.abs(value).max() < 20.0 for value in twin.values(params, X).values())


def check(output, loss, n_rows, seed):
    """Values and gradients at the parameters and at every node, by twin and by projections.

    Returns False where the values are too large to be compared.
    """
    rng = np.random.default_rng(seed)
    net, twin = build(output)
    params = rng.uniform(-0.7, 0.7, net.n_params)
    X = rng.uniform(0.1, 1.0, (n_rows, net.n_features)) * rng.choice([-1.0, 1.0], net.n_features)
    if not moderate(twin, params, X):
        return False
    raw = twin.forward(params, X)
    y = tame_targets(loss, raw, targets(loss, n_rows, net.n_outputs, rng))
    told = {"loss": loss, **settings_of(loss)}
    assert_close(net.forward(params, X), raw)
    value, gradient = net.loss_and_gradient(params, X, y, alpha=0.2, **told)
    expected, expected_gradient = twin.loss_and_gradient(params, X, y, alpha=0.2, **told)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert_close(gradient, expected_gradient, 1e-11)
    actual = net.gradients(params, X, y, wrt=twin.nodes, **told)
    expected = twin.gradients(params, X, y, wrt=twin.nodes, **told)
    # Behind a layer_norm gradients may cancel to 0 but for the rounding of the larger ones.
    cancels = any(node.op == "layer_norm" for node in twin.nodes)
    least = cancels * max(np.abs(gradient).max() for gradient in expected)
    for at_node, expected_at_node in zip(actual, expected, strict=True):
        assert_close(at_node, expected_at_node, 1e-11, least=least)
    # asked for alone, a node has other neighbours in memory
    alone = rng.integers(len(twin.nodes))
    (at_node,) = net.gradients(params, X, y, wrt=[twin.nodes[alone]], **told)
    assert_close(at_node, expected[alone], 1e-11, least=least)

    def sides(params, X):
        distances = naive.kinks(z=twin.forward(params, X), y=y, **told)
        return twin.sides(params, X, KINKS) + [distance > 0.0 for distance in distances]

    at_X = actual[twin.nodes.index(next(node for node in twin.nodes if node.op == "input"))]
    along_params, along_X = rng.standard_normal(params.shape), rng.standard_normal(X.shape)
    scale = np.abs(gradient).sum() + np.abs(at_X).sum() + abs(value)
    slope = finite_differences.directional(
        lambda p: net.loss_and_gradient(p, X, y, alpha=0.2, **told)[0],
        lambda p: sides(p, X),
        params,
        along_params,
    )
    assert gradient @ along_params == pytest.approx(slope, abs=1e-7 * scale)
    slope = finite_differences.directional(
        lambda X: net.loss_and_gradient(params, X, y, **told)[0],
        lambda X: sides(params, X),
        X,
        along_X,
    )
    assert np.sum(at_X * along_X) == pytest.approx(slope, abs=1e-7 * scale)
    return True


@tiny
@settings(derandomize=True, deadline=None, max_examples=EXAMPLES, database=None)
@given(outputs_and_losses(), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_random_graphs(output_and_loss, n_rows, seed):
    assume(check(*output_and_loss, n_rows, seed))


@settings(derandomize=True, deadline=None, max_examples=20, database=None)
@given(outputs_and_losses(), st.integers(0, 2**32 - 1))
def test_random_graphs_over_several_blocks_of_rows(output_and_loss, seed):
    """Against the twin alone: with many rows some are always near a kink."""
    output, loss = output_and_loss
    rng = np.random.default_rng(seed)
    net, twin = build(output)
    params = rng.uniform(-0.7, 0.7, net.n_params)
    X = rng.uniform(-1.0, 1.0, (150, net.n_features))
    assume(moderate(twin, params, X))
    raw = twin.forward(params, X)
    y = tame_targets(loss, raw, targets(loss, 150, net.n_outputs, rng))
    told = {"loss": loss, **settings_of(loss)}
    assert_close(net.forward(params, X), raw)
    _, gradient = net.loss_and_gradient(params, X, y, **told)
    assert_close(gradient, twin.loss_and_gradient(params, X, y, **told)[1], 1e-11)


# Graphs that deserve a name -------------------------------------------------------------------


def affine(node, name, width=3):
    return g.dense(node, width, name=name)


def skip(x):
    h = g.tanh(affine(x, "a"))
    return affine(g.concat(x, h), "output", 2)


def residual(x):
    h = affine(x, "a")
    return affine(g.add(h, g.softplus(affine(h, "b"))), "output", 2)


def twice_in_a_sum(x):
    h = g.tanh(affine(x, "a"))
    return affine(g.add(h, h), "output", 2)


def twice_in_a_product(x):
    h = affine(x, "a")
    return affine(g.multiply(h, h), "output", 2)


def three_times_in_a_product(x):
    h = affine(x, "a")
    return affine(g.multiply(h, h, h), "output", 2)


def twice_side_by_side(x):
    h = g.maxout(x, 3, pieces=2, name="a")
    return affine(g.concat(h, h, h), "output", 2)


def gate(x):
    return affine(g.multiply(g.logistic(affine(x, "a")), g.tanh(affine(x, "b"))), "output", 2)


def two_activations_of_one_node(x):
    """Neither may overwrite what the other still needs."""
    z = affine(x, "a")
    return affine(g.add(g.relu(z), g.abs(z), z), "output", 2)


def activation_of_an_activation(x):
    return affine(g.abs(g.tanh(g.leaky_relu(affine(x, "a"), negative_slope=0.3))), "output", 2)


def hidden_node_beside_the_output(x):
    h = g.logistic(affine(x, "a"))
    return g.multiply(h, affine(h, "output"))


def dead_branch(x):
    h = g.relu(affine(x, "a"))
    g.dense(g.multiply(h, h), 7, name="dead")
    return affine(h, "output", 2)


def branches_of_different_depth(x):
    short = affine(x, "short")
    long = affine(g.tanh(affine(g.softplus(affine(x, "long0")), "long1")), "long2")
    return affine(g.add(short, long, x), "output", 2)


def activation_of_the_input(x):
    """The rows of X must be left as they are."""
    return affine(g.add(g.abs(x), g.tanh(x), x), "output", 2)


def output_is_a_sum(x):
    return g.add(affine(x, "a"), g.maxout(x, 3, pieces=3, name="b"))


def output_is_an_activation(x):
    return g.softplus(affine(x, "a"))


def layer_norm_of_a_layer(x):
    return affine(g.relu(g.layer_norm(affine(x, "a", 5), epsilon=0.1, name="n")), "output", 2)


def layer_norm_of_the_input(x):
    """Nothing below has a gradient, unless it is asked for."""
    return affine(g.layer_norm(x, epsilon=0.1, name="n"), "output", 2)


def output_is_a_layer_norm(x):
    return g.layer_norm(affine(x, "a", 4), epsilon=0.1, name="n")


def layer_norm_of_an_activation_beside_it(x):
    """A residual block: what is normalised is added to what comes out."""
    h = g.tanh(affine(x, "a"))
    z = g.gelu(affine(g.layer_norm(h, epsilon=0.1, name="n"), "b"))
    return affine(g.layer_norm(g.add(h, z), epsilon=0.1, name="m"), "output", 2)


def layer_norm_read_twice(x):
    n = g.layer_norm(affine(x, "a"), epsilon=0.1, name="n")
    return affine(g.concat(g.multiply(n, n), g.abs(n), n), "output", 2)


def the_input_itself(x):
    return x


def without_parameters(x):
    return g.multiply(g.tanh(x), x)


def an_activation_of_the_input_and_nothing_else(x):
    """The input has no gradient whose place that at the output might share."""
    return g.abs(x)


GRAPHS = [
    skip,
    residual,
    twice_in_a_sum,
    twice_in_a_product,
    three_times_in_a_product,
    twice_side_by_side,
    gate,
    two_activations_of_one_node,
    activation_of_an_activation,
    hidden_node_beside_the_output,
    dead_branch,
    branches_of_different_depth,
    activation_of_the_input,
    output_is_a_sum,
    output_is_an_activation,
    layer_norm_of_a_layer,
    layer_norm_of_the_input,
    output_is_a_layer_norm,
    layer_norm_of_an_activation_beside_it,
    layer_norm_read_twice,
    the_input_itself,
    without_parameters,
    an_activation_of_the_input_and_nothing_else,
]


@tiny
@pytest.mark.parametrize("graph", GRAPHS)
def test_named_graphs(graph):
    assert check(graph(g.input(3, name="x")), "half_squared_error", 3, seed=1)


@pytest.mark.parametrize("graph", [the_input_itself, an_activation_of_the_input_and_nothing_else])
def test_whole_panels_without_parameters(graph):
    assert check(graph(g.input(40, name="x")), "half_squared_error", BLOCK, seed=1)


@tiny
def test_a_dead_branch_has_no_parameters():
    net, _ = build(dead_branch(g.input(3, name="x")))
    assert [p.owner for p in net.parameters if p.role == "bias"] == ["a", "output"]


@settings(max_examples=60)
@given(outputs(), st.sampled_from(DTYPES), st.integers(1, 70), st.booleans(), st.booleans())
def test_every_place_of_a_plan_lies_in_its_buffer(output, dtype, rows, training, sparse):
    """Tiles get raw addresses: nothing but the plan keeps them inside."""
    plan = Network(output).plan(dtype, rows, training=training, sparse=sparse)
    node_size = dict(zip(NODE_COLUMNS, plan.nodes.T, strict=True))
    for column in ("value", "delta"):
        placed = node_size[column] >= 0
        ends = (node_size[column] + node_size["panels"] * plan.panel)[placed]
        assert (node_size[column][placed] >= plan.lanes).all()  # behind the row of zeros
        assert ends.max(initial=0) <= plan.n_work
    assert plan.panel >= plan.rows * plan.lanes >= rows * plan.lanes
    taken = np.zeros(plan.n_engine + plan.n_mirror, dtype=int)
    for parameter, place in zip(plan.parameters, plan.places, strict=True):
        taken[place.at : place.at + place.size(plan.lanes)] += 1
        if place.mirror >= 0 and not place.narrow:
            size = -(-parameter.fan_in // plan.lanes) * place.columns * plan.lanes
            taken[place.mirror : place.mirror + size] += 1
    assert (taken == 1).all()
    for task in plan.tasks:
        columns = dict(zip(TASK_COLUMNS, task, strict=True))
        height = max(columns["rows"], 1)
        assert columns["panels"] * height * plan.lanes <= plan.n_scratch
        op = dict(zip(OP_COLUMNS, plan.ops[columns["op"]], strict=True))
        assert columns["row"] + columns["rows"] <= max(op["inputs"], DEPTH)
    width = plan.nodes[plan.output][0]
    assert plan.n_scratch >= (2 * width + 3) * BLOCK
