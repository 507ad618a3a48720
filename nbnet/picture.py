"""Drawings of a network's graph as text: Mermaid, DOT, and SVG without any other program.

A view (`VIEWS`) turns the nodes into a `Diagram` of boxes and arrows, and each format writes any
diagram::

    svg(diagram(net.nodes, net.blocks, "training"))

Views: ``"forward"``, how the data flow; ``"backward"``, the Jacobian product on each edge on the
way back from J; ``"training"``, the graph of the cost with weight decay, where each parameter is a
node of its own. (Goodfellow et al., 2016, sections 6.5.2 to 6.5.7; samples are rows, so that a
dense layer is X W + b.)

The SVG layout is the usual one for layered graphs (Sugiyama, Tagawa and Toda, 1981): ranks by
longest path, order within a rank by barycentres, positions by least squares.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import inf

from nbnet.nodes import Node
from nbnet.plan import ParameterBlock

__all__ = [
    "VIEWS",
    "Arrow",
    "Box",
    "Diagram",
    "Drawing",
    "diagram",
    "dot",
    "html",
    "mermaid",
    "svg",
]


@dataclass(frozen=True)
class Box:
    """A node of a picture: a title, lines below it, and a key of ``FILL``."""

    title: str
    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Arrow:
    """An edge of a picture between two boxes, given by their positions; `kind` of ``STROKE``."""

    source: int
    target: int
    kind: str
    label: str = ""


@dataclass(frozen=True)
class Diagram:
    """What a view shows and every format writes.

    Attributes
    ----------
    title : str
    notes : tuple of str
        What a reader has to know besides.
    boxes : tuple of Box
        In topological order of the data.
    arrows : tuple of Arrow
    upward : bool
        Whether arrows run against the data, which always flow down.
    """

    title: str
    notes: tuple[str, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    upward: bool = False


# --- Names

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 40
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _clean(name: str | None) -> str:
    """One line of text that any format can hold."""
    line = " ".join(_NOT_XML.sub("\ufffd", name or "").split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _numbered(letter: str, number: int) -> str:
    return f"{letter}⁽{str(number).translate(_SUPERSCRIPTS)}⁾"


def _kind(node: Node) -> str:
    return node.activation or node.op


def _summary(node: Node) -> str:
    """What stands below a node's name, or its kind if it has no name."""
    words = [_kind(node)] if _clean(node.name) else []
    if node.op == "maxout":
        words.append(f"{node.pieces} pieces")
    if node.activation == "leaky_relu":
        words.append(f"slope {node.negative_slope:g}")
    return f"{', '.join(words)} (N, {node.width})".strip()


def _symbols(nodes: Sequence[Node]) -> dict[int, str]:
    """What formulas call each node (by id): its name, else X, U⁽ᵏ⁾ for X W⁽ᵏ⁾ + b⁽ᵏ⁾, and H⁽ᵏ⁾."""
    symbols, block, hidden = {}, 0, 0
    others = [n for n in nodes if n.op not in ("input", "dense") and not _clean(n.name)]
    for node in nodes:
        block += node.op in ("dense", "maxout")
        symbol = _clean(node.name)
        if not symbol and node.op == "input":
            symbol = "X"
        elif not symbol and node.op == "dense":
            symbol = _numbered("U", block)
        elif not symbol:
            hidden += 1
            symbol = _numbered("H", hidden) if len(others) > 1 else "H"
        symbols[id(node)] = symbol
    return symbols


def _listed(words: Iterable[str], separator: str) -> str:
    words = list(words)
    return separator.join(words if len(words) <= 4 else [*words[:2], "…", words[-1]])


def _formula(node: Node, symbols: dict[int, str], block: int) -> str:
    """How a node follows from its inputs."""
    inputs = [symbols[id(parent)] for parent in node.inputs]
    affine = f"{inputs[0]} {_numbered('W', block)} + {_numbered('b', block)}" if inputs else ""
    return {
        "input": lambda: "the samples",
        "dense": lambda: affine,
        "maxout": lambda: f"largest of {node.pieces} pieces of {affine}",
        "activation": lambda: f"{_kind(node)}({inputs[0]})",
        "add": lambda: _listed(inputs, " + "),
        "multiply": lambda: _listed(inputs, " ⊙ "),
        "concat": lambda: f"[{_listed(inputs, ', ')}]",
    }[node.op]()


# --- Views


def _title(nodes: Sequence[Node], blocks: Sequence[ParameterBlock]) -> str:
    """Widths and number of parameters; the one input is the first of any topological order."""

    def counted(number: int, word: str) -> str:
        return f"{number:,} {word}" + ("" if number == 1 else "s")

    ends = counted(nodes[0].width, "input"), counted(nodes[-1].width, "output")
    return f"{', '.join(ends)}, P = {_count(blocks):,}"


def _count(blocks: Sequence[ParameterBlock]) -> int:
    return blocks[-1].bias.stop if blocks else 0


def _box_kind(node: Node) -> str:
    return {"input": "data", "dense": "parameters", "maxout": "parameters"}.get(node.op, "op")


def _forward(nodes: Sequence[Node], blocks: Sequence[ParameterBlock]) -> Diagram:
    """The data: what each node is, its shape and its parameters."""
    index = {id(node): i for i, node in enumerate(nodes)}
    remaining = iter(blocks)
    boxes, arrows = [], []
    for i, node in enumerate(nodes):
        lines = [_summary(node)]
        if node.op in ("dense", "maxout"):
            b = next(remaining)
            lines.append(f"W ({b.fan_in}, {b.columns}), b ({b.columns},)")
            lines.append(f"{b.bias.stop - b.start:,} parameters")
        title = _clean(node.name) or _kind(node)
        boxes.append(Box(title, tuple(lines), _box_kind(node)))
        arrows += [Arrow(index[id(parent)], i, "forward") for parent in node.inputs]
    return Diagram(_title(nodes, blocks), (), tuple(boxes), tuple(arrows))


def _products(node: Node, symbols: dict[int, str], block: int) -> list[str]:
    """For each input, G (N, width) times the Jacobian of the node with respect to it."""
    inputs = [symbols[id(parent)] for parent in node.inputs]
    if node.op == "dense":
        return [f"G {_numbered('W', block)}ᵀ"]
    if node.op == "maxout":
        return [f"M {_numbered('W', block)}ᵀ"]
    if node.op == "activation":
        return ["G"] if _kind(node) == "identity" else [f"G ⊙ {_kind(node)}′({inputs[0]})"]
    if node.op == "multiply":
        return [f"G ⊙ {inputs[1]}", f"G ⊙ {inputs[0]}"]
    if node.op == "concat":
        stops = [sum(n.width for n in node.inputs[: i + 1]) for i in range(len(inputs))]
        return [f"G[:, {s - n.width}:{s}]" for n, s in zip(node.inputs, stops, strict=True)]
    return ["G"] * len(inputs)  # add


def _backward(nodes: Sequence[Node], blocks: Sequence[ParameterBlock]) -> Diagram:
    """The way back from J: the Jacobian product on each edge, the gradients of the parameters."""
    index = {id(node): i for i, node in enumerate(nodes)}
    symbols = _symbols(nodes)
    readers = Counter(id(parent) for node in nodes for parent in node.inputs)
    boxes, arrows, block = [], [], 0
    for i, node in enumerate(nodes):
        block += node.op in ("dense", "maxout")
        lines = [_formula(node, symbols, block), f"(N, {node.width})"]
        if node.op in ("dense", "maxout"):
            g = "M" if node.op == "maxout" else "G"
            if node.op == "maxout":
                lines.append("M: G routed to the winning pieces, else 0")
            lines.append(f"∇{_numbered('W', block)} = {symbols[id(node.inputs[0])]}ᵀ {g}")
            lines.append(f"∇{_numbered('b', block)} = 1ᵀ {g}")
        if readers[id(node)] > 1:
            lines.append(f"gradients of {readers[id(node)]} paths are summed")
        boxes.append(Box(symbols[id(node)], tuple(lines), _box_kind(node)))
        products = _products(node, symbols, block)
        arrows += [
            Arrow(i, index[id(parent)], "backward", product)
            for parent, product in zip(node.inputs, products, strict=True)
        ]
    boxes.append(Box("J", ("the cost, a scalar",), "cost"))
    arrows.append(Arrow(len(nodes), len(nodes) - 1, "backward", f"∂J/∂{symbols[id(nodes[-1])]}"))
    note = "G: the gradient of J at the box that an arrow leaves. ⊙: element by element."
    return Diagram(_title(nodes, blocks), (note,), tuple(boxes), tuple(arrows), upward=True)


def _training(nodes: Sequence[Node], blocks: Sequence[ParameterBlock]) -> Diagram:
    """The whole cost: parameters are nodes, and each weight matrix has two paths from J."""
    symbols = _symbols(nodes)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    index: dict[int, int] = {}
    norms: list[int] = []

    def put(title: str, lines: Sequence[str], kind: str, *sources: int) -> int:
        """A box and the arrows into it; returns its position."""
        boxes.append(Box(title, tuple(lines), kind))
        style = "penalty" if kind == "penalty" else "forward"
        arrows.extend(Arrow(source, len(boxes) - 1, style) for source in sources)
        return len(boxes) - 1

    for node in nodes:
        sources = [index[id(parent)] for parent in node.inputs]
        if node.op in ("dense", "maxout"):
            b, k = blocks[len(norms)], len(norms) + 1
            w, bias = _numbered("W", k), _numbered("b", k)
            g = f"{symbols[id(node.inputs[0])]}ᵀ {'G' if node.op == 'dense' else 'M'}"
            weights = put(w, (f"({b.fan_in}, {b.columns})", f"∇{w} = {g} + 2λ {w}"), "parameters")
            sources += [weights, put(bias, (f"({b.columns},)",), "parameters")]
            norms.append(put(f"‖{w}‖²", ("sum of squares",), "penalty", weights))
        lines = (_formula(node, symbols, len(norms)), f"(N, {node.width})")
        kind = "data" if node.op == "input" else "op"
        index[id(node)] = put(symbols[id(node)], lines, kind, *sources)
    targets = put("targets", ("y",), "data")
    loss = put("J_MLE", ("mean loss of the rows",), "cost", index[id(nodes[-1])], targets)
    notes: list[str] = []
    if norms:
        squares = (boxes[norm].title for norm in norms)
        total = put("Ω", (_listed(squares, " + "),), "penalty", *norms)
        strength = put("λ", ("alpha / (2 Σ sample weights)",), "penalty")
        cost = put("J", ("J_MLE + λ Ω",), "cost", loss)
        arrows += [Arrow(source, cost, "penalty") for source in (strength, total)]
        notes = [
            "Two paths lead from J to each W: by the loss (solid), by the penalty (dashed).",
            "G: the gradient of J at the layer that reads W."
            + (" M: G routed to the winning pieces." if any(b.pieces > 1 for b in blocks) else ""),
        ]
    else:
        put("J", ("J_MLE",), "cost", loss)
    return Diagram(_title(nodes, blocks), tuple(notes), tuple(boxes), tuple(arrows))


VIEWS: dict[str, Callable[[Sequence[Node], Sequence[ParameterBlock]], Diagram]] = {
    "forward": _forward,
    "backward": _backward,
    "training": _training,
}


def diagram(nodes: Sequence[Node], blocks: Sequence[ParameterBlock], view: str) -> Diagram:
    """One view of a network.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order.
    blocks : sequence of ParameterBlock
        One for each dense or maxout node, in the same order.
    view : {"forward", "backward", "training"}

    Raises
    ------
    ValueError
        If there is no such view.
    """
    if not isinstance(view, str) or view not in VIEWS:
        raise ValueError(f"view must be one of {sorted(VIEWS)}, got {view!r}")
    return VIEWS[view](nodes, blocks)


# --- Text formats

# Pale boxes with dark text, and arrows of medium lightness, are readable on white and on black.
FILL = {  # kind of box: fill, border
    "data": ("#dbeafe", "#3b82f6"),
    "parameters": ("#fef3c7", "#d97706"),
    "op": ("#f1f5f9", "#64748b"),
    "cost": ("#fce7f3", "#db2777"),
    "penalty": ("#ede9fe", "#8b5cf6"),
}
STROKE = {"forward": "#718096", "backward": "#db2777", "penalty": "#8b5cf6"}
_TEXT, _CAPTION = "#0f172a", "#718096"


def _kinds(view: Diagram) -> list[str]:
    return sorted({box.kind for box in view.boxes})


def mermaid(view: Diagram) -> str:
    """The diagram as a Mermaid flowchart, which GitHub and GitLab draw in Markdown."""

    def quoted(*lines: str) -> str:
        # every sign that Mermaid, its Markdown or its HTML could take for its own, by number
        coded = (re.sub(r"[^\w ,:()⁽⁾]", _coded, line) for line in lines)
        return '"' + "<br/>".join(coded) + '"'

    lines = ["---", f"title: {view.title}", "---"]
    lines.append("flowchart " + ("BT" if view.upward else "TD"))
    lines += [f"    %% {note}" for note in view.notes]
    for i, box in enumerate(view.boxes):
        lines.append(f"    n{i}[{quoted(box.title, *box.lines)}]:::{box.kind}")
    for arrow in view.arrows:
        line = "-.->" if arrow.kind == "penalty" else "-->"
        label = f"|{quoted(arrow.label)}|" if arrow.label else ""
        lines.append(f"    n{arrow.source} {line}{label} n{arrow.target}")
    for kind in _kinds(view):
        fill, border = FILL[kind]
        lines.append(f"    classDef {kind} fill:{fill},stroke:{border},color:{_TEXT}")
    return "\n".join(lines) + "\n"


def _coded(sign: re.Match[str]) -> str:
    return f"#{ord(sign.group())};" if sign.group().isascii() else sign.group()


def dot(view: Diagram) -> str:
    """The diagram in the language of Graphviz."""

    def quoted(*lines: str) -> str:
        # Graphviz reads entities in labels
        safe = (
            line.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for line in lines
        )
        return '"' + "\\n".join(safe) + '"'

    lines = [
        "digraph {",
        f"    rankdir={'BT' if view.upward else 'TB'} labelloc=t bgcolor=transparent",
        f'    label={quoted(view.title, *view.notes)} fontname="Helvetica" fontcolor="{_CAPTION}"',
        f'    node [shape=box style="rounded,filled" fontname="Helvetica" fontcolor="{_TEXT}"]',
        f'    edge [fontname="Helvetica" fontcolor="{_CAPTION}"]',
    ]
    for i, box in enumerate(view.boxes):
        fill, border = FILL[box.kind]
        label = quoted(box.title, *box.lines)
        lines.append(f'    n{i} [label={label} fillcolor="{fill}" color="{border}"]')
    for arrow in view.arrows:
        style = f'color="{STROKE[arrow.kind]}"'
        style += " style=dashed" if arrow.kind == "penalty" else ""
        style += f" label={quoted(arrow.label)}" if arrow.label else ""
        lines.append(f"    n{arrow.source} -> n{arrow.target} [{style}]")
    return "\n".join([*lines, "}"]) + "\n"


# --- Layout

_BIG, _SMALL = 14.0, 12.0  # font sizes
_GAP, _LANE_GAP = 28.0, 16.0  # between neighbours in a rank
_SWEEPS = 12
_PULL = 0.25


def _text_width(text: str, size: float) -> float:
    """About how wide a sans-serif font sets `text`, rather too wide than too narrow."""
    width = 0.0
    for sign in text:
        if unicodedata.combining(sign):
            continue
        if unicodedata.east_asian_width(sign) in "WF":
            width += 1.05
        elif sign in " .,:;!|'()[]ijltfrI⁽⁾¹":
            width += 0.36
        elif sign in "mwMW@%" or ord(sign) > 0x2100:
            width += 0.92
        else:
            width += 0.7 if sign.isupper() else 0.585
    return width * size


@dataclass
class _Item:
    """A box, a label or a bend of an arrow, at its place."""

    width: float
    height: float
    rank: int
    above: list[int]
    below: list[int]
    x: float = 0.0
    y: float = 0.0


def _ranks(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from the first box; other sources lie right above the last that reads them."""
    ranks, readers, sources = [0] * n, defaultdict(list), defaultdict(list)
    for source, target in edges:
        readers[source].append(target)
        sources[target].append(source)
    for i in range(n):
        ranks[i] = max((ranks[source] + 1 for source in sources[i]), default=0)
    for i in range(1, n):
        if not sources[i]:
            ranks[i] = max(ranks[reader] for reader in readers[i]) - 1
    for i in range(n):
        ranks[i] = max((ranks[source] + 1 for source in sources[i]), default=ranks[i])
    return ranks


def _crossings(items: list[_Item], ranks: list[list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(ranks):
        place = {item: i for i, item in enumerate(lower)}
        seen: list[int] = []
        for item in upper:
            ends = [place[other] for other in items[item].below]
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _order(items: list[_Item], ranks: list[list[int]]) -> list[list[int]]:
    """The order within each rank with the fewest crossings among those that sweeps come by."""
    best, fewest = ranks, _crossings(items, ranks)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        ranks = [list(rank) for rank in ranks]
        down = sweep % 2 == 0
        for r in range(1, len(ranks)) if down else range(len(ranks) - 2, -1, -1):
            place = {item: i for i, item in enumerate(ranks[r - 1 if down else r + 1])}
            keys = {}
            for i, item in enumerate(ranks[r]):
                others = items[item].above if down else items[item].below
                keys[item] = sum(place[o] for o in others) / len(others) if others else i
            ranks[r].sort(key=keys.__getitem__)
        crossings = _crossings(items, ranks)
        if crossings < fewest:
            best, fewest = ranks, crossings
    return best


def _spread(wanted: list[float], weights: list[float], gaps: list[float]) -> list[float]:
    """Positions nearest to `wanted` that are `gaps` apart: isotonic regression.

    Pools of neighbours that would come too close move together (pool adjacent violators).
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[list[float]] = []  # mean, weight, count
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        pools.append([want - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            mean, heavy, count = pools.pop()
            total = pools[-1][1] + heavy
            pools[-1] = [
                (pools[-1][0] * pools[-1][1] + mean * heavy) / total,
                total,
                pools[-1][2] + count,
            ]
    means = (mean for mean, _, count in pools for _ in range(int(count)))
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _place(items: list[_Item], ranks: list[list[int]], n_boxes: int) -> None:
    """Set x and y: each item as near as can be to those it is joined with."""

    def gap(left: int, right: int) -> float:
        between = _GAP if min(left, right) < n_boxes else _LANE_GAP
        return (items[left].width + items[right].width) / 2 + between

    for sweep in range(2 * _SWEEPS):
        for rank in ranks if sweep % 2 == 0 else reversed(ranks):
            wanted, weights = [], []
            for item in rank:
                mine = items[item]
                others = mine.above + mine.below
                if sweep < 2 * _SWEEPS - 4:  # from one side, so that moves travel far
                    others = (mine.above if sweep % 2 == 0 else mine.below) or [item]
                others = others or [item]
                # a little towards the middle, lest a deep graph drift to one side
                wanted.append(sum(items[other].x for other in others) / (len(others) + _PULL))
                # bends and labels hold the line
                weights.append(len(others) * (1.0 if item < n_boxes else 4.0))
            gaps = [gap(left, right) for left, right in pairwise(rank)]
            for item, x in zip(rank, _spread(wanted, weights, gaps), strict=True):
                items[item].x = x
    _straighten(items, ranks, gap)
    y = 0.0
    for rank in ranks:
        height = max(items[item].height for item in rank)
        for item in rank:
            items[item].y = y + height / 2
        y += height + (22.0 if all(item >= n_boxes for item in rank) else 34.0)
        # long ways across need some room to be told apart
        across = [abs(items[i].x - items[other].x) for i in rank for other in items[i].below]
        y += min(max(max(across, default=0.0) / 8 - 25.0, 0.0), 90.0)


def _straighten(
    items: list[_Item], ranks: list[list[int]], gap: Callable[[int, int], float]
) -> None:
    """Move items that follow each other exactly below each other, as far as neighbours let them."""
    left = {o: i for rank in ranks for i, o in pairwise(rank)}
    right = {i: o for o, i in left.items()}
    heirs: dict[int, int] = {}
    heads = set(range(len(items)))

    def priority(link: tuple[int, int]) -> tuple[bool, float]:
        """Bends before all else, then what is nearest."""
        upper, lower = items[link[0]], items[link[1]]
        return upper.width + lower.width > 0, abs(upper.x - lower.x)

    links = [(i, other) for i, item in enumerate(items) for other in item.below]
    for upper, lower in sorted(links, key=priority):
        if upper not in heirs and lower in heads:
            heirs[upper] = lower
            heads.remove(lower)

    def move(line: list[int], low: float, high: float) -> None:
        middle = sum(items[item].x for item in line) / max(len(line), 1)
        for item in line:
            items[item].x = min(max(middle, low), high)

    for _ in range(_SWEEPS):
        for head in sorted(heads):
            line: list[int] = []
            low, high = -inf, inf
            at: int | None = head
            while at is not None:
                least = items[left[at]].x + gap(left[at], at) if at in left else -inf
                most = items[right[at]].x - gap(at, right[at]) if at in right else inf
                if max(low, least) > min(high, most):
                    move(line, low, high)
                    line, low, high = [], -inf, inf
                line.append(at)
                low, high = max(low, least), min(high, most)
                at = heirs.get(at)
            move(line, low, high)


def _layout(view: Diagram) -> tuple[list[_Item], list[list[int]]]:
    """Items, the boxes first, and for each arrow the items it passes, with the data.

    Arrows that lead far to the same box share their way, but for their first step and label.
    """
    edges = [(a.target, a.source) if view.upward else (a.source, a.target) for a in view.arrows]
    labelled = any(arrow.label for arrow in view.arrows)
    step = 2 if labelled else 1  # labels have ranks of their own
    items: list[_Item] = []
    for box, rank in zip(view.boxes, _ranks(len(view.boxes), edges), strict=True):
        width = max(
            _text_width(box.title, _BIG), *(_text_width(line, _SMALL) for line in box.lines)
        )
        items.append(_Item(max(width + 24, 56), 30 + 17 * len(box.lines), step * rank, [], []))
    lanes: dict[tuple[int, int], int] = {}
    chains = []
    for arrow, (source, target) in zip(view.arrows, edges, strict=True):
        chain = [source]
        for rank in range(items[source].rank + 1, items[target].rank):
            if arrow.label and len(chain) == 1:
                items.append(_Item(_text_width(arrow.label, _SMALL) + 12, 20, rank, [], []))
                chain.append(len(items) - 1)
                continue
            if (target, rank) not in lanes:
                items.append(_Item(0, 0, rank, [], []))
                lanes[target, rank] = len(items) - 1
            chain.append(lanes[target, rank])
        chains.append([*chain, target])
    links = dict.fromkeys(pair for chain in chains for pair in pairwise(chain))
    for upper, lower in links:
        items[upper].below.append(lower)
        items[lower].above.append(upper)
    ranks: list[list[int]] = [[] for _ in range(max(item.rank for item in items) + 1)]
    for i, item in enumerate(items):
        ranks[item.rank].append(i)
    _place(items, _order(items, ranks), len(view.boxes))
    return items, chains


def _ports(items: list[_Item], ends: list[tuple[int, int, float]]) -> list[float]:
    """Where arrows meet a side of their box, in order of where they come from.

    `ends` holds, for each arrow, the box, what it shares its port with, and x at the other side.
    """
    ports: dict[int, dict[int, float]] = defaultdict(dict)
    for box, key, x in ends:
        ports[box][key] = x
    places: dict[tuple[int, int], float] = {}
    for box, others in ports.items():
        room = min(22.0, (items[box].width - 20) / len(others))
        for i, key in enumerate(sorted(others, key=others.__getitem__)):
            places[box, key] = items[box].x + (i - (len(others) - 1) / 2) * room
    return [places[box, key] for box, key, _ in ends]


# --- SVG


class Drawing(str):
    """An SVG text that notebooks show as the picture it is."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto;max-height:90em">{self}</div>'


def _text(x: float, y: float, text: str, size: float, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{extra}>{escape(text)}</text>'


def _curve(points: list[tuple[float, float]]) -> str:
    """Down through `points`, upright at each."""
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        if abs(x - to_x) < 0.05:
            path += f"V{to_y:.1f}"
        else:
            middle = (y + to_y) / 2
            path += f"C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"
    return path


def svg(view: Diagram) -> Drawing:
    """The diagram as an SVG picture, to be shown as a file or within a page, light or dark."""
    items, chains = _layout(view)
    n_boxes = len(view.boxes)
    caption = [view.title, *view.notes]
    edge, top = 12.0, 22.0 + 18.0 * len(caption)
    left = min(item.x - item.width / 2 for item in items)
    for item in items:
        item.x += edge - left
        item.y += top
    # ranks of bends and labels run through whole
    bands: dict[int, tuple[float, float]] = {}
    for item in items:
        high, low = bands.get(item.rank, (item.y, item.y))
        reach = item.height / 2
        bands[item.rank] = min(high, item.y - reach), max(low, item.y + reach)
    width = max(item.x + item.width / 2 for item in items) + edge
    width = max([width, *(_text_width(line, _SMALL) + 2 * edge for line in caption)])
    height = max(low for _, low in bands.values()) + edge
    starts = _ports(items, [(c[0], i, items[c[1]].x) for i, c in enumerate(chains)])
    stops = _ports(
        items,
        [(c[-1], c[-2] if len(c) > 2 else -i, items[c[-2]].x) for i, c in enumerate(chains)],
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
        f"<title>{escape(view.title)}</title>",
    ]
    for i, line in enumerate(caption):
        parts.append(_text(edge, 20 + 18 * i, line, _SMALL, f' fill="{_CAPTION}"'))
    drawn: set[int] = set()
    for arrow, chain, start, stop in zip(view.arrows, chains, starts, stops, strict=True):
        source, target = items[chain[0]], items[chain[-1]]
        points = [(start, source.y + source.height / 2)]
        merged = False
        for i in chain[1:-1]:
            high, low = bands[items[i].rank]
            points.append((items[i].x, high))
            merged = i in drawn
            if merged:  # another arrow goes on from here: dashes drawn twice would fill up
                break
            drawn.add(i)
            points.append((items[i].x, low))
        if not merged:
            points.append((stop, target.y - target.height / 2))
        color = STROKE[arrow.kind]
        dashes = ' stroke-dasharray="5 4"' if arrow.kind == "penalty" else ""
        head = ""
        if view.upward or not merged:
            # the line ends within the head
            ahead = -1.0 if view.upward else 1.0
            x, y = points[0 if view.upward else -1]
            points[0 if view.upward else -1] = x, y - 7 * ahead
            head = f'<path d="M{x:.1f},{y:.1f}l-4.5,{-9 * ahead:g}h9z" fill="{color}"/>'
        parts.append(
            f'<g class="arrow" data-from="{arrow.source}" data-to="{arrow.target}">'
            f'<path d="{_curve(points)}" fill="none" stroke="{color}" stroke-width="1.5"{dashes}/>'
            f"{head}</g>"
        )
    labels = [(a.label, items[c[1]]) for a, c in zip(view.arrows, chains, strict=True) if a.label]
    for label, item in labels:
        parts.append(
            f'<g class="label">{_rectangle(item, 10, "#ffffff", STROKE["backward"])}'
            f"{_text(item.x, item.y + 4, label, _SMALL, _MIDDLE)}</g>"
        )
    for box, item in zip(view.boxes, items[:n_boxes], strict=True):
        y = item.y - item.height / 2 + 20
        parts.append(f'<g class="box">{_rectangle(item, 8, *FILL[box.kind])}')
        parts.append(_text(item.x, y, box.title, _BIG, _MIDDLE + ' font-weight="bold"'))
        for i, line in enumerate(box.lines):
            parts.append(_text(item.x, y + 17 * (i + 1), line, _SMALL, _MIDDLE))
        parts.append("</g>")
    return Drawing("\n".join([*parts, "</svg>"]) + "\n")


_MIDDLE = f' fill="{_TEXT}" text-anchor="middle"'


def _rectangle(item: _Item, radius: float, fill: str, border: str) -> str:
    return (
        f'<rect x="{item.x - item.width / 2:.1f}" y="{item.y - item.height / 2:.1f}" '
        f'width="{item.width:.1f}" height="{item.height:.1f}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{border}"/>'
    )


def html(nodes: Sequence[Node], blocks: Sequence[ParameterBlock]) -> str:
    """The forward picture and a table of the parameter blocks, as a fragment of a page."""
    picture = svg(diagram(nodes, blocks, "forward"))._repr_html_()
    header = "<tr><th>block</th><th>weights</th><th>bias</th><th>parameters</th></tr>"
    rows = "".join(
        f"<tr><td>{escape(_clean(b.name))}</td><td>({b.fan_in}, {b.columns})</td>"
        f"<td>({b.columns},)</td><td>{b.bias.stop - b.start:,}</td></tr>"
        for b in blocks
    )
    unfolded = ' open=""' if len(blocks) <= 10 else ""
    return (
        f"{picture}<details{unfolded}>"
        f"<summary>P = {_count(blocks):,}, blocks of parameters: {len(blocks)}</summary>"
        f"<table><thead>{header}</thead><tbody>{rows}</tbody></table></details>"
    )
