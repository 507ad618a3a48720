"""A network's graph as a diagram of boxes and arrows, and any diagram as Mermaid or DOT text.

Three views: ``"forward"``, how the data flow; ``"backward"``, the Jacobian product on each edge on
the way back from J; ``"training"``, the graph of the cost with weight decay, where each parameter
is a node of its own. (Goodfellow et al., 2016, sections 6.5.2 to 6.5.7; samples are rows, so that a
dense layer is X W + b.)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate, pairwise
from typing import NamedTuple

from nbnet.graph.nodes import Node
from nbnet.graph.parameters import Parameter

__all__ = ["Arrow", "Box", "Diagram", "diagram", "dot", "html", "mermaid"]

# Pale boxes with dark text, and arrows of medium lightness, are readable on white and on black.
FILL = {  # kind of box: fill, border
    "data": ("#dbeafe", "#3b82f6"),
    "parameters": ("#fef3c7", "#d97706"),
    "op": ("#f1f5f9", "#64748b"),
    "cost": ("#fce7f3", "#db2777"),
    "penalty": ("#ede9fe", "#8b5cf6"),
}
STROKE = {"forward": "#718096", "backward": "#db2777", "penalty": "#8b5cf6"}
TEXT, CAPTION = "#0f172a", "#718096"


class Box(NamedTuple):
    """A node of a picture: a key of ``FILL``, a title and lines below it."""

    kind: str
    texts: Sequence[str]


class Arrow(NamedTuple):
    """An edge between two boxes, given by their positions; `kind` is a key of ``STROKE``."""

    source: int
    target: int
    kind: str
    label: str


@dataclass
class Diagram:
    """What a view shows and every format writes; boxes are in topological order of the data."""

    title: str
    upward: bool = False  # whether arrows run against the data, which always flow down
    notes: Sequence[str] = ()
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)

    def put(
        self, kind: str, *texts: str, parents: Sequence[int] = (), labels: Sequence[str] = ()
    ) -> int:
        """Add a box, and an arrow from each parent, or upward to it; returns its position."""
        here = len(self.boxes)
        self.boxes.append(Box(kind, texts))
        for i, parent in enumerate(parents):
            if self.upward:
                self.arrows.append(Arrow(here, parent, "backward", labels[i]))
            else:
                penalty = "penalty" in (kind, self.boxes[parent].kind)
                self.arrows.append(Arrow(parent, here, "penalty" if penalty else "forward", ""))
        return here


# --- What a node is called and how it is computed

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _clean(name: str | None) -> str:
    """One line of at most 40 signs that any format can hold."""
    line = " ".join(_NOT_XML.sub("\ufffd", name or "").split())
    return line if len(line) <= 40 else line[:39] + "…"


def _numbered(letter: str, number: int) -> str:
    return f"{letter}⁽{str(number).translate(_SUPERSCRIPTS)}⁾"


def _listed(words: Sequence[str], separator: str) -> str:
    return separator.join(words if len(words) <= 4 else [*words[:2], "…", words[-1]])


class _Symbols(NamedTuple):
    """A node in symbols: its own, those of its inputs, and those of its weights and biases."""

    node: Node
    owned: dict[str, Parameter]
    parents: list[int]
    symbol: str
    x: list[str]
    w: str
    b: str
    kind: str  # of its box
    g: str  # the gradient that reaches X W


def _steps(nodes: Sequence[Node], parameters: Sequence[Parameter]) -> list[_Symbols]:
    """Each node; without a name it is X, U⁽ᵏ⁾ = X W⁽ᵏ⁾ + b⁽ᵏ⁾, or H, numbered unless alone."""
    index = {node: i for i, node in enumerate(nodes)}
    hidden = [n for n in nodes if n.op not in ("input", "dense") and not _clean(n.name)]
    unnamed = {n: _numbered("H", k) if hidden[1:] else "H" for k, n in enumerate(hidden, start=1)}
    layers = list(dict.fromkeys(parameter.node for parameter in parameters))
    steps: list[_Symbols] = []
    for i, node in enumerate(nodes):
        owned = {parameter.role: parameter for parameter in parameters if parameter.node == i}
        k = layers.index(i) + 1 if owned else 0
        symbol = unnamed.get(node, _numbered("U", k) if owned else "X")
        parents = [index[parent] for parent in node.inputs]
        x = [steps[i].symbol for i in parents]
        kind = "parameters" if owned else "op" if parents else "data"
        symbol, w, b = _clean(node.name) or symbol, _numbered("W", k), _numbered("b", k)
        g = "M" if node.op == "maxout" else "G"
        steps.append(_Symbols(node, owned, parents, symbol, x, w, b, kind, g))
    return steps


def _formula(step: _Symbols) -> tuple[str, list[str]]:
    """How a node follows from its inputs; for each of them, G (N, width) times the Jacobian."""
    node, x = step.node, step.x
    match node.op:
        case "input":
            return "the samples", []
        case "dense" | "maxout":
            pieces = f"largest of {node.pieces} pieces of " if node.op == "maxout" else ""
            return f"{pieces}{x[0]} {step.w} + {step.b}", [f"{step.g} {step.w}ᵀ"]
        case "add":
            return " + ".join(x), ["G", "G"]
        case "multiply":
            return " ⊙ ".join(x), [f"G ⊙ {x[1]}", f"G ⊙ {x[0]}"]
        case "dropout":  # as it predicts
            return f"dropout({x[0]})", ["G"]
        case "layer_norm":
            return f"{step.w} ⊙ n({x[0]}) + {step.b}", [f"(G ⊙ {step.w}) ∂n/∂{x[0]}"]
        case "concat":
            stops = accumulate((parent.width for parent in node.inputs), initial=0)
            return f"[{_listed(x, ', ')}]", [f"G[:, {i}:{j}]" for i, j in pairwise(stops)]
    function = _clean(node.kind)
    derivative = "" if node.activation == "identity" else f" ⊙ {function}′({x[0]})"
    return f"{function}({x[0]})", [f"G{derivative}"]


_NORMAL = "n: each row less its mean, over its standard deviation"


def _of_weights(step: _Symbols) -> str:
    """The gradient of a node's weights, without that of a penalty."""
    if step.node.op == "layer_norm":
        return f"1ᵀ (G ⊙ n({step.x[0]}))"
    return f"{step.x[0]}ᵀ {step.g}"


# --- Views


def _forward(view: Diagram, steps: list[_Symbols]) -> None:
    """The data: what each node is, its shape and its parameters."""
    for step in steps:
        node, name, kind = step.node, _clean(step.node.name), _clean(step.node.kind)
        words = [kind] if name else []
        words += [f"{node.pieces} pieces"] if node.op == "maxout" else []
        words += [f"{number.replace('_', ' ')} {value:g}" for number, value in node.numbers.items()]
        lines = [f"{', '.join(words)} (N, {node.width})".strip()]
        if step.owned:
            named = {"weights": "W", "bias": "b"}
            shapes = [f"{named.get(role, role)} {p.shape}" for role, p in step.owned.items()]
            lines.append(", ".join(shapes))
            lines.append(f"{_count(step.owned.values()):,} parameters")
        view.put(step.kind, name or kind, *lines, parents=step.parents)


def _backward(view: Diagram, steps: list[_Symbols]) -> None:
    """The way back from J: the Jacobian product on each edge, the gradients of the parameters."""
    view.notes = ["G: the gradient of J at the box that an arrow leaves. ⊙: element by element."]
    readers = Counter(parent for step in steps for parent in step.parents)
    for i, step in enumerate(steps):
        formula, products = _formula(step)
        lines = [formula, f"(N, {step.node.width})"]
        if step.g == "M":
            lines.append("M: G routed to the winning pieces, else 0")
        if step.node.op == "layer_norm":
            lines.append(_NORMAL)
        if "weights" in step.owned:
            lines += [f"∇{step.w} = {_of_weights(step)}", f"∇{step.b} = 1ᵀ {step.g}"]
        if readers[i] > 1:
            lines.append(f"gradients of {readers[i]} paths are summed")
        view.put(step.kind, step.symbol, *lines, parents=step.parents, labels=products)
    label = f"∂J/∂{steps[-1].symbol}"
    view.put("cost", "J", "the cost, a scalar", parents=[len(steps) - 1], labels=[label])


def _training(view: Diagram, steps: list[_Symbols]) -> None:
    """The whole cost: parameters are nodes, and each weight matrix has two paths from J."""
    places: list[int] = []
    norms: list[int] = []
    for step in steps:
        parents = [places[parent] for parent in step.parents]
        if "weights" in step.owned:
            penalised = step.owned["weights"].group == "weights"
            gradient = f"∇{step.w} = {_of_weights(step)}" + f" + 2λ {step.w}" * penalised
            shape, bias = (f"{step.owned[role].shape}" for role in ("weights", "bias"))
            weights = view.put("parameters", step.w, shape, gradient)
            parents += [weights, view.put("parameters", step.b, bias)]
            if penalised:
                norm = view.put("penalty", f"‖{step.w}‖²", "sum of squares", parents=[weights])
                norms.append(norm)
        kind, shape = "op" if parents else "data", f"(N, {step.node.width})"
        places.append(view.put(kind, step.symbol, _formula(step)[0], shape, parents=parents))
    targets = view.put("data", "targets", "y")
    loss = view.put("cost", "J_MLE", "mean loss of the rows", parents=[places[-1], targets])
    routed = " M: G routed to the winning pieces." * any(step.g == "M" for step in steps)
    normal = f" {_NORMAL}." * any(step.node.op == "layer_norm" for step in steps)
    read = f"G: the gradient of J at the layer that reads W.{routed}{normal}"
    if not norms:
        view.notes = [read] if any(step.owned for step in steps) else []
        view.put("cost", "J", "J_MLE", parents=[loss])
        return
    squares = _listed([view.boxes[norm].texts[0] for norm in norms], " + ")
    total = view.put("penalty", "Ω", squares, parents=norms)
    strength = view.put("penalty", "λ", "alpha / (2 Σ sample weights)")
    view.put("cost", "J", "J_MLE + λ Ω", parents=[loss, total, strength])
    view.notes = [
        "Two paths lead from J to each W: by the loss (solid), by the penalty (dashed).",
        read,
    ]


_VIEWS = {"forward": _forward, "backward": _backward, "training": _training}


def diagram(nodes: Sequence[Node], parameters: Sequence[Parameter], view: str) -> Diagram:
    """One view of a network, from its nodes in topological order; ValueError if there is none."""
    if not isinstance(view, str) or view not in _VIEWS:
        raise ValueError(f"view must be one of {sorted(_VIEWS)}, got {view!r}")
    ends = ("input", nodes[0].width), ("output", nodes[-1].width)
    widths = ", ".join(f"{n:,} {end}{'s' * (n != 1)}" for end, n in ends)
    drawn = Diagram(f"{widths}, P = {_count(parameters):,}", upward=view == "backward")
    _VIEWS[view](drawn, _steps(nodes, parameters))
    return drawn


def _count(parameters: Iterable[Parameter]) -> int:
    return sum(math.prod(parameter.shape) for parameter in parameters)


# --- Formats


def mermaid(view: Diagram) -> str:
    """The diagram as a Mermaid flowchart, which GitHub and GitLab draw in Markdown."""

    def quoted(*lines: str) -> str:
        # every sign that Mermaid, its Markdown or its HTML could take for its own, by number
        coded = (re.sub(r"[^\w ,:()\x80-\U0010ffff]", lambda m: f"#{ord(m[0])};", s) for s in lines)
        return '"' + "<br/>".join(coded) + '"'

    lines = ["---", f"title: {view.title}", "---", f"flowchart {'BT' if view.upward else 'TD'}"]
    lines += [f"    %% {note}" for note in view.notes]
    for i, box in enumerate(view.boxes):
        lines.append(f"    n{i}[{quoted(*box.texts)}]:::{box.kind}")
    for arrow in view.arrows:
        line = "-.->" if arrow.kind == "penalty" else "-->"
        label = f"|{quoted(arrow.label)}|" if arrow.label else ""
        lines.append(f"    n{arrow.source} {line}{label} n{arrow.target}")
    for kind in sorted({box.kind for box in view.boxes}):
        fill, border = FILL[kind]
        lines.append(f"    classDef {kind} fill:{fill},stroke:{border},color:{TEXT}")
    return "\n".join(lines) + "\n"


def dot(view: Diagram) -> str:
    """The diagram in the language of Graphviz."""
    signs = str.maketrans({"&": "&amp;", "\\": "\\\\", '"': '\\"'})  # it reads entities in labels

    def quoted(*lines: str) -> str:
        return '"' + "\\n".join(line.translate(signs) for line in lines) + '"'

    lines = [
        "digraph {",
        f"    rankdir={'BT' if view.upward else 'TB'} labelloc=t bgcolor=transparent",
        f'    label={quoted(view.title, *view.notes)} fontname="Helvetica" fontcolor="{CAPTION}"',
        f'    node [shape=box style="rounded,filled" fontname="Helvetica" fontcolor="{TEXT}"]',
        f'    edge [fontname="Helvetica" fontcolor="{CAPTION}"]',
    ]
    for i, box in enumerate(view.boxes):
        fill, border = FILL[box.kind]
        label = quoted(*box.texts)
        lines.append(f'    n{i} [label={label} fillcolor="{fill}" color="{border}"]')
    for arrow in view.arrows:
        style = " style=dashed" if arrow.kind == "penalty" else ""
        style += f" label={quoted(arrow.label)}" if arrow.label else ""
        lines.append(
            f'    n{arrow.source} -> n{arrow.target} [color="{STROKE[arrow.kind]}"{style}]'
        )
    return "\n".join([*lines, "}"]) + "\n"


def html(picture: str, parameters: Sequence[Parameter]) -> str:
    """A picture and a table of the parameters, as a fragment of a page."""
    rows = "".join(
        f"<tr><td>{escape(_clean(p.owner))}</td><td>{escape(p.role)}</td><td>{p.shape}</td>"
        f"<td>{math.prod(p.shape):,}</td></tr>"
        for p in parameters
    )
    unfolded = ' open=""' if len(parameters) <= 20 else ""
    return (
        f"{picture}<details{unfolded}>"
        f"<summary>P = {_count(parameters):,}, arrays of parameters: {len(parameters)}</summary>"
        "<table><thead><tr><th>node</th><th>role</th><th>shape</th><th>parameters</th></tr>"
        f"</thead><tbody>{rows}</tbody></table></details>"
    )
