"""Pictures are read back: boxes and arrows against the graph, formulas against the gradients."""

import re
from collections import Counter
from html import unescape
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given, settings

import naive
from nbnet import graph as g
from problems import affine, assert_close, build, mlp
from test_random_graphs import moderate, outputs

VIEWS = ["forward", "backward", "training"]
SVG = "{http://www.w3.org/2000/svg}"
OWNERS = ("dense", "maxout", "layer_norm")
random_graphs = settings(derandomize=True, deadline=None, max_examples=40, database=None)


# Readers: a list of the lines of each box, and a list of (source, target, label) ---------------


def read_mermaid(text):
    def decoded(label):
        label = label.replace("<br/>", "\n")
        assert not re.search('["`<>&|]', label)
        return re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label)

    boxes, arrows = [], []
    front, title, back, flowchart, *lines = text.splitlines()
    assert (front, back) == ("---", "---")
    assert re.fullmatch("title: [0-9, a-zP=]+", title)
    assert flowchart in ("flowchart TD", "flowchart BT")
    for line in lines:
        if box := re.fullmatch(r' {4}n(\d+)\["(.*)"\]:::\w+', line):
            assert int(box[1]) == len(boxes)
            boxes.append(decoded(box[2]).split("\n"))
        elif arrow := re.fullmatch(r' {4}n(\d+) (?:-->|-\.->)(?:\|"(.*)"\|)? n(\d+)', line):
            arrows.append((int(arrow[1]), int(arrow[3]), decoded(arrow[2] or "")))
        else:
            assert re.fullmatch(r" {4}(%% .*|classDef \w+ fill:#\w+,stroke:#\w+,color:#\w+)", line)
    return boxes, arrows


def read_dot(text):
    def decoded(label):
        lines = re.sub(r"\\(.)", lambda code: {"n": "\n"}.get(code[1], code[1]), label)
        return unescape(lines)

    quoted = r'"((?:[^"\\]|\\.)*)"'
    colors = r'fillcolor="#\w+" color="#\w+"'
    boxes, arrows = [], []
    first, *lines, last = text.splitlines()
    assert (first, last) == ("digraph {", "}")
    for line in lines:
        if box := re.fullmatch(rf" {{4}}n(\d+) \[label={quoted} {colors}\]", line):
            assert int(box[1]) == len(boxes)
            boxes.append(decoded(box[2]).split("\n"))
        elif arrow := re.fullmatch(
            rf' {{4}}n(\d+) -> n(\d+) \[color="#\w+"(?: style=dashed)?(?: label={quoted})?\]', line
        ):
            arrows.append((int(arrow[1]), int(arrow[2]), decoded(arrow[3] or "")))
        else:
            assert re.match(" {4}(rankdir=|label=|node |edge )", line)
    return boxes, arrows


def texts(group):
    return [text.text for text in group.iter(f"{SVG}text")]


def groups(root, kind):
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == kind]


def read_svg(text):
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text
    labels = iter([texts(group)[0] for group in groups(root, "label")])
    labelled = bool(groups(root, "label"))
    arrows = [
        (int(arrow.get("data-from")), int(arrow.get("data-to")), next(labels) if labelled else "")
        for arrow in groups(root, "arrow")
    ]
    assert next(labels, None) is None
    return [texts(box) for box in groups(root, "box")], arrows


def read(net, view):
    """Boxes and arrows, the same in every format."""
    boxes, arrows = read_svg(net.to_svg(view))
    for other_boxes, other_arrows in read_mermaid(net.to_mermaid(view)), read_dot(net.to_dot(view)):
        assert other_boxes == boxes
        assert other_arrows == arrows
    return boxes, arrows


# What the views show --------------------------------------------------------------------------


def edges(net):
    """(from, to) by position, as often as the one reads the other."""
    index = {node: i for i, node in enumerate(net.nodes)}
    return Counter((index[parent], index[node]) for node in net.nodes for parent in node.inputs)


@random_graphs
@given(outputs())
def test_forward_shows_each_node_and_edge_once(output):
    net = g.Network(output)
    boxes, arrows = read(net, "forward")
    assert Counter((source, target) for source, target, _ in arrows) == edges(net)
    pairs = iter(affine(net))
    assert len(boxes) == len(net.nodes)
    for node, (title, *lines) in zip(net.nodes, boxes, strict=True):
        assert title == (node.name or node.activation or node.op)
        assert lines[0].endswith(f"(N, {node.width})")
        if node.name:
            assert lines[0].startswith(node.activation or node.op)
        if node.op in OWNERS:
            weights, bias = (p.shape for p in next(pairs))
            assert lines[1] == f"W {weights}, b {bias}"
            assert lines[2] == f"{np.prod(weights) + np.prod(bias):,} parameters"
        else:
            assert len(lines) == 1


def test_forward_of_a_stack():
    net = g.Network(g.mlp(30, [("relu", 100), ("maxout", 20)], 2, pieces=3))
    boxes, arrows = read(net, "forward")
    assert boxes == [
        ["x", "input (N, 30)"],
        ["z1", "dense (N, 100)", "W (30, 100), b (100,)", "3,100 parameters"],
        ["h1", "relu (N, 100)"],
        ["h2", "maxout, 3 pieces (N, 20)", "W (100, 60), b (60,)", "6,060 parameters"],
        ["output", "dense (N, 2)", "W (20, 2), b (2,)", "42 parameters"],
    ]
    assert arrows == [(i, i + 1, "") for i in range(4)]
    total = "30 inputs, 2 outputs, P = 9,202"
    assert f"<title>{total}</title>" in net.to_svg()
    assert f"title: {total}\n" in net.to_mermaid()
    assert f'label="{total}"' in net.to_dot()


SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


class Formulas:
    """The formulas of the backward view, with numbers in them."""

    def __init__(self, output, seed):
        rng = np.random.default_rng(seed)
        self.net, self.twin = build(output)
        net = self.net
        self.params = rng.uniform(-0.7, 0.7, net.n_params)
        self.X = rng.uniform(-1.0, 1.0, (3, net.n_features))
        self.y = rng.uniform(-1.0, 1.0, (3, net.n_outputs))
        self.W, self.b = net.unpack(self.params)
        self.values = [net.forward(self.params, self.X, node=node) for node in net.nodes]
        self.gradients = net.gradients(self.params, self.X, self.y, wrt=net.nodes)
        self.owners = [n for n in net.nodes if n.op in OWNERS]
        self.boxes, self.arrows = read(net, "backward")
        self.symbols = {title: i for i, (title, *_) in enumerate(self.boxes)}

    def matrix(self, symbol):
        return self.W[int(symbol[2:-1].translate(SUPERSCRIPTS)) - 1]

    def routed(self, i):
        """M (N, columns): the gradient at the winning piece of each unit, 0 elsewhere."""
        node, G = self.net.nodes[i], self.gradients[i]
        k = self.owners.index(node)
        x = self.values[self.net.nodes.index(node.inputs[0])]
        z = (x @ self.W[k] + self.b[k]).reshape(*G.shape, node.pieces)
        M = np.zeros_like(z)
        np.put_along_axis(M, z.argmax(axis=2)[..., None], G[..., None], axis=2)
        return M.reshape(len(G), -1)

    def product(self, i, label):
        """What `label` says of the gradient at node `i`."""
        G = self.gradients[i] if i < len(self.gradients) else None
        if label == "G":
            return G
        if label.startswith("∂J/∂"):
            last = self.net.nodes[self.symbols[label[4:]]]
            loss = "half_squared_error"
            (gradient,) = self.twin.gradients(self.params, self.X, self.y, loss=loss, wrt=[last])
            return gradient
        if columns := re.fullmatch(r"G\[:, (\d+):(\d+)\]", label):
            return G[:, int(columns[1]) : int(columns[2])]
        if weights := re.fullmatch(r"([GM]) (W⁽.+⁾)ᵀ", label):
            return (G if weights[1] == "G" else self.routed(i)) @ self.matrix(weights[2]).T
        if slope := re.fullmatch(r"G ⊙ (\w+)′\((.+)\)", label):
            z, a = (
                self.values[self.symbols[slope[2]]],
                self.net.nodes[i].numbers.get("negative_slope"),
            )
            return G * naive.ACTIVATIONS[slope[1]][1](z, a)
        if normal := re.fullmatch(r"\(G ⊙ (W⁽.+⁾)\) ∂n/∂(.+)", label):
            x, epsilon = self.values[self.symbols[normal[2]]], self.net.nodes[i].numbers["epsilon"]
            return naive.standardized_backward(x, epsilon, G * self.matrix(normal[1]))
        return G * self.values[self.symbols[re.fullmatch("G ⊙ (.+)", label)[1]]]

    def parameter_gradient(self, i, line):
        if normal := re.fullmatch(r"∇W⁽.+⁾ = 1ᵀ \(G ⊙ n\((.+)\)\)", line):
            x, epsilon = self.values[self.symbols[normal[1]]], self.net.nodes[i].numbers["epsilon"]
            return (self.gradients[i] * naive.standardized(x, epsilon)).sum(axis=0)
        of_weights = re.fullmatch("∇W⁽.+⁾ = (.+)ᵀ ([GM])", line)
        factor, g_or_m = of_weights.groups() if of_weights else (None, line[-1])
        G = self.gradients[i] if g_or_m == "G" else self.routed(i)
        if of_weights:
            return self.values[self.symbols[factor]].T @ G
        assert re.fullmatch("∇b⁽.+⁾ = 1ᵀ [GM]", line)
        return np.ones(len(G)) @ G


@random_graphs
@given(outputs())
def test_backward_labels_are_the_gradients(output):
    """Every formula in the picture is computed, and what flows into a node is its gradient."""
    formulas = Formulas(output, seed=0)
    net = formulas.net
    assume(moderate(formulas.twin, formulas.params, formulas.X))
    reverse = Counter((target, source) for source, target, _ in formulas.arrows)
    n = len(net.nodes)
    assert reverse == edges(net) + Counter({(n - 1, n): 1})
    arriving = [[] for _ in net.nodes]
    for source, target, label in formulas.arrows:
        arriving[target].append(formulas.product(source, label))
    for paths, gradient, (_, *lines) in zip(
        arriving, formulas.gradients, formulas.boxes, strict=False
    ):
        assert_close(sum(paths), gradient, 1e-11)
        sums = [line for line in lines if "summed" in line]
        assert sums == ([f"gradients of {len(paths)} paths are summed"] if len(paths) > 1 else [])
    expected = np.split(
        net.loss_and_gradient(formulas.params, formulas.X, formulas.y)[1],
        [p.place.stop for p in net.parameters],
    )
    actual = [
        formulas.parameter_gradient(i, line)
        for i, (_, *lines) in enumerate(formulas.boxes)
        for line in lines
        if line.startswith("∇")
    ]
    assert len(actual) == len(net.parameters)
    for one, other in zip(actual, expected, strict=False):
        assert_close(one.ravel(), other, 1e-11)


def test_training_view_of_the_chapters_network():
    """The figure of section 6.5.7, biases and targets included."""
    net = g.Network(g.dense(g.relu(g.dense(g.input(8), 64)), 3))
    boxes, arrows = read(net, "training")
    title = [box[0] for box in boxes]
    assert Counter((title[source], title[target]) for source, target, _ in arrows) == Counter(
        [
            ("X", "U⁽¹⁾"),
            ("W⁽¹⁾", "U⁽¹⁾"),
            ("b⁽¹⁾", "U⁽¹⁾"),
            ("U⁽¹⁾", "H"),
            ("H", "U⁽²⁾"),
            ("W⁽²⁾", "U⁽²⁾"),
            ("b⁽²⁾", "U⁽²⁾"),
            ("U⁽²⁾", "J_MLE"),
            ("targets", "J_MLE"),
            ("J_MLE", "J"),
            ("W⁽¹⁾", "‖W⁽¹⁾‖²"),
            ("W⁽²⁾", "‖W⁽²⁾‖²"),
            ("‖W⁽¹⁾‖²", "Ω"),
            ("‖W⁽²⁾‖²", "Ω"),
            ("Ω", "J"),
            ("λ", "J"),
        ]
    )
    assert len(set(title)) == len(title) == 15
    assert ["W⁽¹⁾", "(8, 64)", "∇W⁽¹⁾ = Xᵀ G + 2λ W⁽¹⁾"] in boxes
    assert ["U⁽²⁾", "H W⁽²⁾ + b⁽²⁾", "(N, 3)"] in boxes


def paths_to_the_last(arrows, n):
    """For each box the number of paths from it to the last one."""
    paths = [0] * (n - 1) + [1]
    for i in reversed(range(n - 1)):
        paths[i] = sum(paths[target] for source, target, _ in arrows if source == i)
    return paths


@pytest.mark.parametrize("widths", [[], [4], [4, 3, 5]])
@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_two_paths_lead_from_the_cost_to_each_weight_matrix(widths, activation):
    net = g.Network(mlp(3, widths, 2, activation))
    boxes, arrows = read(net, "training")
    paths = paths_to_the_last(arrows, len(boxes))
    titles = [title for title, *_ in boxes]
    assert titles[-1] == "J"
    for letter, expected in ("W⁽", 2), ("b⁽", 1):
        found = [n for n, title in zip(paths, titles, strict=True) if title.startswith(letter)]
        assert found == [expected] * len(affine(net))


@random_graphs
@given(outputs())
def test_training_view_of_any_graph(output):
    net = g.Network(output)
    boxes, arrows = read(net, "training")
    titles = [title for title, *_ in boxes]
    owners = [node for node in net.nodes if node.op in OWNERS]
    penalised = [node for node in owners if node.op != "layer_norm"]
    place = {}
    for title, node in zip(read(net, "backward")[0], net.nodes, strict=False):
        place[node] = titles.index(title[0])
    expected = Counter((place[p], place[node]) for node in net.nodes for p in node.inputs)
    for k, (node, (weights, _)) in enumerate(zip(owners, affine(net), strict=True), start=1):
        number = str(k).translate({v: k for k, v in SUPERSCRIPTS.items()})
        w, b = titles.index(f"W⁽{number}⁾"), titles.index(f"b⁽{number}⁾")
        assert boxes[w][1] == str(weights.shape)
        assert boxes[w][2].endswith(f"+ 2λ {titles[w]}") == (node in penalised)
        expected += Counter([(w, place[node]), (b, place[node])])
        if node in penalised:
            norm = titles.index(f"‖W⁽{number}⁾‖²")
            expected += Counter([(w, norm), (norm, titles.index("Ω"))])
    loss, cost = titles.index("J_MLE"), titles.index("J")
    expected += Counter([(place[output], loss), (titles.index("targets"), loss), (loss, cost)])
    if penalised:
        expected += Counter([(titles.index("Ω"), cost), (titles.index("λ"), cost)])
    assert Counter((source, target) for source, target, _ in arrows) == expected
    parameters = 2 * len(owners) + len(penalised)
    assert len(boxes) == len(net.nodes) + parameters + 3 + 2 * bool(penalised)


def test_the_gradients_in_the_training_view():
    """∇W = xᵀ G + 2λ W with λ = alpha / (2 sum of weights)."""
    net = g.Network(g.dense(g.tanh(g.dense(g.input(3, name="x"), 4, name="z")), 2, name="output"))
    boxes, _ = read(net, "training")
    assert ["W⁽¹⁾", "(3, 4)", "∇W⁽¹⁾ = xᵀ G + 2λ W⁽¹⁾"] in boxes
    assert ["λ", "alpha / (2 Σ sample weights)"] in boxes
    rng = np.random.default_rng(0)
    params, X, y = net.init(0), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    weights = rng.uniform(0.5, 2.0, 5)
    _, gradient = net.loss_and_gradient(params, X, y, alpha=0.7, sample_weight=weights)
    (G,) = net.gradients(params, X, y, wrt=["z"], sample_weight=weights)
    (W, _), (at_W, _) = net.unpack(params)[0], net.unpack(gradient)[0]
    assert_close(at_W, X.T @ G + 2 * (0.7 / (2 * weights.sum())) * W)


# Text -----------------------------------------------------------------------------------------

NAMES = {
    'a "quoted" [name] {x} (y)': None,
    "<b>bold</b> & &amp; &lt; &#65; ]]>": None,
    'back\\slash \\n \\"': None,
    "`**not bold**` _x_ #35; #quot;": None,
    "|pipe| --> n1; %% comment": None,
    "new\nline\r\n and\ttab": "new line and tab",
    "a\x00b\x1b\ud800": "a\ufffdb\ufffd\ufffd",
    "naïve 层 ε̂ 🙂": None,
    "x" * 200: "x" * 39 + "…",
    " \n": "dense",
    "": "dense",
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_is_shown_as_it_is(name):
    net = g.Network(g.relu(g.dense(g.input(2, name="x"), 3, name=name)))
    shown = NAMES[name] or name
    assert read(net, "forward")[0][1][0] == shown
    for view in "backward", "training":
        boxes, _ = read(net, view)
        symbol = "U⁽¹⁾" if shown == "dense" else shown
        assert [symbol, "x W⁽¹⁾ + b⁽¹⁾", "(N, 3)"] in [box[:3] for box in boxes]
    table = ElementTree.fromstring(f"<div>{net._repr_html_()}</div>").find(".//table/tbody")
    rows = [[cell.text for cell in row] for row in table]
    called = {"": "dense_0", " \n": None}.get(name, shown)
    assert rows == [[called, "weights", "(2, 3)", "6"], [called, "bias", "(3,)", "3"]]


@pytest.mark.parametrize("method", ["to_mermaid", "to_dot", "to_svg"])
@pytest.mark.parametrize("view", ["sideways", "", None, ["forward"]])
def test_unknown_view(method, view):
    net = g.Network(g.dense(g.input(2), 1))
    allowed = re.escape("['backward', 'forward', 'training']")
    with pytest.raises(
        ValueError, match=f"view must be one of {allowed}, got {re.escape(repr(view))}"
    ):
        getattr(net, method)(view)


def test_notebooks_show_the_forward_view_and_the_parameters():
    net = g.Network(g.mlp(4, [("relu", 3)], 2))
    assert net._repr_svg_() == net.to_svg() == net.to_svg("forward")
    page = ElementTree.fromstring(f"<body>{net._repr_html_()}</body>")
    assert len(page.findall(f".//{SVG}svg")) == 1
    rows = [[cell.text for cell in row] for row in page.findall(".//tbody/tr")]
    assert rows == [
        ["z1", "weights", "(4, 3)", "12"],
        ["z1", "bias", "(3,)", "3"],
        ["output", "weights", "(3, 2)", "6"],
        ["output", "bias", "(2,)", "2"],
    ]
    assert page.find(".//summary").text == "P = 23, arrays of parameters: 4"
    drawing = net.to_svg("training")
    assert drawing._repr_svg_() == drawing
    assert len(ElementTree.fromstring(drawing._repr_html_()).findall(f".//{SVG}svg")) == 1


def test_a_network_without_parameters():
    net = g.Network(g.tanh(g.input(1)))
    assert read(net, "training")[0] == [
        ["X", "the samples", "(N, 1)"],
        ["H", "tanh(X)", "(N, 1)"],
        ["targets", "y"],
        ["J_MLE", "mean loss of the rows"],
        ["J", "J_MLE"],
    ]
    assert "P = 0" in net._repr_html_()
    for view in VIEWS:
        read(g.Network(g.input(1)), view)


# Layout ---------------------------------------------------------------------------------------


def rectangles(root, kind):
    """(left, top, right, bottom) of each."""
    for group in groups(root, kind):
        x, y, width, height = (
            float(group.find(f"{SVG}rect").get(key)) for key in ("x", "y", "width", "height")
        )
        yield x, y, x + width, y + height


def ends(arrow):
    """First and last point of an arrow's line."""
    numbers = arrow.find(f"{SVG}path").get("d")
    start = [float(n) for n in re.match(r"M(-?[\d.]+),(-?[\d.]+)", numbers).groups()]
    return start, float(re.findall(r"-?[\d.]+", numbers)[-1])


def check_layout(net, view):
    root = ElementTree.fromstring(net.to_svg(view))
    _, _, width, height = (float(n) for n in root.get("viewBox").split())
    boxes, labels = list(rectangles(root, "box")), list(rectangles(root, "label"))
    for left, top, right, bottom in boxes + labels:
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
    for one, other in combinations(sorted(boxes + labels, key=lambda r: r[1]), 2):
        if other[1] >= one[3]:
            continue  # below
        assert other[0] >= one[2] or one[0] >= other[2]
    for arrow in groups(root, "arrow"):
        upper, lower = (boxes[int(arrow.get(f"data-{end}"))] for end in ("from", "to"))
        if view == "backward":
            upper, lower = lower, upper
        (x, y), stop = ends(arrow)
        assert upper[3] <= lower[1]
        assert upper[0] <= x <= upper[2]
        assert upper[3] - 0.1 <= y < stop <= lower[1] + 0.1


@random_graphs
@given(outputs())
def test_nothing_overlaps_and_arrows_lead_from_box_to_box(output):
    for view in VIEWS:
        check_layout(g.Network(output), view)


def test_a_node_read_twice_has_two_arrows_to_be_seen():
    x = g.input(2)
    root = ElementTree.fromstring(g.Network(g.multiply(x, x)).to_svg())
    one, other = (arrow.find(f"{SVG}path").get("d") for arrow in groups(root, "arrow"))
    assert one != other


def deep_residual(depth):
    h = g.dense(g.input(8), 16)
    for _ in range(depth):
        h = g.relu(g.add(h, g.dense(h, 16)))
    return g.dense(h, 1)


def wide_concat(branches):
    x = g.input(8)
    return g.dense(g.concat(*(g.tanh(g.dense(x, 4)) for _ in range(branches))), 1)


def dense_concat(depth):
    nodes = [g.input(8)]
    for _ in range(depth):
        nodes.append(g.relu(g.dense(g.concat(*nodes, nodes[0]), 4)))
    return nodes[-1]


LARGE = {
    "stack": g.mlp(8, [("relu", 16)] * 200, 1),
    "residual": deep_residual(200),
    "wide": wide_concat(150),
    "dense": dense_concat(15),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", LARGE)
def test_large_graphs(name, view):
    net = g.Network(LARGE[name])
    read(net, view)
    check_layout(net, view)


@pytest.mark.parametrize("view", VIEWS)
def test_a_deep_graph_does_not_drift_to_one_side(view):
    """A chain of blocks is as wide as few of them."""
    few, many = (
        float(ElementTree.fromstring(g.Network(deep_residual(n)).to_svg(view)).get("width"))
        for n in (5, 100)
    )
    assert many < 2 * few
