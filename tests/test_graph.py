"""Nodes and graphs: what connects to what, and what is refused."""

import dataclasses
import inspect
import pickle

import numpy as np
import pytest

from nbnet import graph as g
from nbnet.kernels.activations import ACTIVATIONS
from problems import NODE_OPS, tiny


@tiny
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_a_function(name):
    x = g.input(3)
    node = getattr(g, name)(x, name="h")
    assert (node.op, node.activation, node.inputs, node.width) == ("activation", name, (x,), 3)
    assert node.name == "h"
    assert getattr(g, name)(x).name is None


@tiny
@pytest.mark.parametrize("name", NODE_OPS)
def test_every_op_has_a_function(name):
    assert callable(getattr(g, name))


@tiny
def test_nodes_know_their_op_inputs_and_width():
    x = g.input(8, name="x")
    a = g.dense(x, 5, name="a")
    m = g.maxout(x, 5, pieces=3, name="m")
    total, product, both = g.add(a, m, name="s"), g.multiply(a, m), g.concat(a, m, x)
    assert (x.op, x.inputs, x.width, x.name) == ("input", (), 8, "x")
    assert (a.op, a.inputs, a.width, a.name, a.pieces) == ("dense", (x,), 5, "a", 1)
    assert (m.op, m.inputs, m.width, m.pieces) == ("maxout", (x,), 5, 3)
    assert (total.op, total.inputs, total.width, total.name) == ("add", (a, m), 5, "s")
    assert (product.op, product.inputs, product.width) == ("multiply", (a, m), 5)
    assert (both.op, both.inputs, both.width) == ("concat", (a, m, x), 18)
    assert g.maxout(x, 5).pieces == 2
    assert g.leaky_relu(x).numbers == {"negative_slope": 0.01}
    assert g.leaky_relu(x, negative_slope=0.5).numbers == {"negative_slope": 0.5}
    assert g.dense(x, np.int64(4)).width == 4


@tiny
def test_nodes_are_frozen():
    node = g.dense(g.input(3), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.width = 3


@tiny
def test_two_alike_nodes_are_two_nodes():
    """Each with parameters of its own; the same node twice shares them."""
    x = g.input(3)
    first, second = g.dense(x, 2), g.dense(x, 2)
    assert first != second
    assert len({first, second, first}) == 2
    assert len(g.Network(g.add(first, second)).parameters) == 4
    assert len(g.Network(g.add(first, first)).parameters) == 2


@tiny
def test_a_network_of_thousands_of_layers():
    """No recursion: depth is bounded by memory alone."""
    x = g.input(1)
    node = x
    for _ in range(3000):
        node = g.identity(node)
    net = g.Network(g.dense(node, 1))
    np.testing.assert_array_equal(net.forward(np.array([2.0, 1.0]), [[3.0]]), [[7.0]])


@tiny
def test_many_paths_are_walked_once():
    """2**60 paths lead from the output to x."""
    node = x = g.input(1)
    for _ in range(60):
        node = g.add(node, node)
    net = g.Network(node)
    (at_x,) = net.gradients(np.empty(0), [[2.0**-60]], [[0.0]], wrt=[x], loss="half_squared_error")
    assert at_x[0, 0] == 2.0**60


@tiny
def test_graphs_and_networks_are_pickled():
    x = g.input(3, name="x")
    net = g.Network(g.dense(g.add(g.maxout(x, 2, name="a"), g.dense(x, 2)), 1, name="output"))
    copy = pickle.loads(pickle.dumps(net))
    assert copy.describe() == net.describe()
    params, X = net.init(0), np.ones((2, 3))
    np.testing.assert_array_equal(copy.forward(params, X), net.forward(params, X))


# Errors ---------------------------------------------------------------------------------------


@tiny
@pytest.mark.parametrize("width", [0, -3])
def test_width_below_one(width):
    x = g.input(3)
    for make in (g.input, lambda w: g.dense(x, w), lambda w: g.maxout(x, w)):
        with pytest.raises(ValueError, match=rf"width.*{width}"):
            make(width)


@tiny
@pytest.mark.parametrize("width", [2.0, "2", None, True])
def test_width_that_is_no_integer(width):
    x = g.input(3)
    for make in (g.input, lambda w: g.dense(x, w), lambda w: g.maxout(x, w)):
        with pytest.raises(TypeError, match=rf"width.*{width}"):
            make(width)


@tiny
def test_pieces():
    x = g.input(3)
    for pieces in (1, 0, -2):
        with pytest.raises(ValueError, match=rf"pieces.*{pieces}"):
            g.maxout(x, 2, pieces=pieces)
    for pieces in (2.0, "2", True):
        with pytest.raises(TypeError, match="pieces"):
            g.maxout(x, 2, pieces=pieces)


@tiny
@pytest.mark.parametrize("function", [g.add, g.multiply])
def test_widths_that_differ(function):
    x = g.input(3)
    with pytest.raises(ValueError, match=rf"{function.__name__}.*3, 2"):
        function(x, g.dense(x, 2))
    with pytest.raises(ValueError, match=function.__name__):
        function(x, x, g.dense(x, 2))


@tiny
@pytest.mark.parametrize("function", [g.add, g.multiply, g.concat])
def test_too_few_nodes(function):
    for nodes in ((), (g.input(3),)):
        with pytest.raises(ValueError, match=rf"{function.__name__}.*2.*{len(nodes)}"):
            function(*nodes)


@tiny
@pytest.mark.parametrize("wrong", [3, "x", None, np.ones((2, 2))])
def test_not_a_node(wrong):
    x = g.input(3)
    makers = [
        lambda: g.dense(wrong, 2),
        lambda: g.maxout(wrong, 2),
        lambda: g.relu(wrong),
        lambda: g.leaky_relu(wrong),
        lambda: g.add(x, wrong),
        lambda: g.multiply(wrong, x),
        lambda: g.concat(x, wrong),
        lambda: g.Network(wrong),
    ]
    for make in makers:
        with pytest.raises(TypeError, match="node"):
            make()


@tiny
@pytest.mark.parametrize("slope", [-0.1, np.nan, np.inf])
def test_negative_slope_out_of_range(slope):
    with pytest.raises(ValueError, match=f"negative_slope.*{slope}"):
        g.leaky_relu(g.input(3), negative_slope=slope)


@tiny
def test_names():
    x = g.input(3, name="x")
    with pytest.raises(TypeError, match=r"name.*7"):
        g.dense(x, 2, name=7)
    with pytest.raises(ValueError, match=r"unique.*'h'"):
        g.Network(g.add(g.dense(x, 2, name="h"), g.dense(x, 2, name="h")))


@tiny
def test_a_cycle_is_refused():
    h = g.relu(g.dense(g.input(3), 3), name="h")
    total = g.add(h, h)
    object.__setattr__(h, "inputs", (total,))  # frozen nodes cannot be tied into a knot otherwise
    with pytest.raises(ValueError, match="cycle"):
        g.Network(g.dense(total, 1))


@tiny
def test_exactly_one_input():
    with pytest.raises(ValueError, match="one input"):
        g.Network(g.add(g.input(3), g.input(3)))


@tiny
@pytest.mark.parametrize("name", ["relu6", "maxout", None, 3])
def test_unknown_activation(name):
    with pytest.raises(ValueError, match=f"activation.*relu.*{name}"):
        g.activation(name, g.input(3))


# For people -----------------------------------------------------------------------------------


def test_nodes_take_plus_and_times():
    x = g.input(3, name="x")
    h, k = g.dense(x, 4), g.dense(x, 4)
    assert (h + k).op == "add"
    assert (h * k).op == "multiply"
    assert (h + k).inputs == (h * k).inputs == (h, k)
    with pytest.raises(TypeError, match="unsupported operand"):
        h + 1
    with pytest.raises(TypeError, match="unsupported operand"):
        2 * h
    with pytest.raises(ValueError, match=r"add needs nodes of one width, got \[4, 3\]"):
        h + x


def test_a_network_says_what_it_is():
    x = g.input(8, name="x")
    h = g.leaky_relu(g.dense(x, 1000, name="z"), 0.2, name="h")
    net = g.Network(g.dense(g.maxout(h, 4, pieces=3), 2, name="output"))
    assert repr(net) == "<Network: 8 features, 4 nodes, 2 outputs, 21,022 parameters>"
    lines = net.summary().splitlines()
    assert lines[0].split() == ["node", "kind", "reads", "width", "parameters"]
    assert lines[2].split() == ["x", "input", "8"]
    assert lines[3].split() == ["z", "dense", "x", "1000", "8,000", "+", "1,000"]
    assert lines[4].split() == ["h", "leaky_relu", "negative_slope=0.2", "z", "1000"]
    assert lines[5].split() == ["(3)", "maxout", "pieces=3", "h", "4", "12,000", "+", "12"]
    assert lines[6].split() == ["output", "dense", "(3)", "2", "8", "+", "2"]
    assert lines[7] == "P = 21,022"
    assert repr(g.Network(g.tanh(g.input(1)))) == (
        "<Network: 1 features, 1 node, 1 outputs, 0 parameters>"
    )


def test_functions_made_from_the_tables():
    assert {*ACTIVATIONS} <= {*g.__all__} <= {*dir(g)}
    x = g.input(3)
    assert g.leaky_relu(x, 0.3, "h").name == g.relu(x, name="h").name == g.relu(x, "h").name == "h"
    assert "max(0, z)" in g.relu.__doc__
    assert str(inspect.signature(g.leaky_relu)) == "(x, negative_slope=0.01, name=None)"
    with pytest.raises(AttributeError, match=r"nbnet\.graph.*rleu"):
        g.rleu  # noqa: B018
    with pytest.raises(TypeError, match="slope"):
        g.relu(x, slope=0.1)
