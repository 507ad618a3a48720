"""Any diagram as SVG text, laid out without another program.

The layout is the usual one for layered graphs (Sugiyama, Tagawa and Toda, 1981): ranks by longest
path, then sweeps down and up that order each rank by the medians of what its items are joined with
and place them there by least squares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from statistics import median
from unicodedata import east_asian_width

from nbnet.graph.picture.diagram import CAPTION, FILL, STROKE, TEXT, Diagram

__all__ = ["Drawing", "svg"]

_MARGIN, _GAP, _LINE, _SWEEPS = 12.0, 26.0, 17.0, 16


class Drawing(str):
    """An SVG text that notebooks show as the picture it is."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto;max-height:90em">{self}</div>'


@dataclass(eq=False)
class _Item:
    """A box, a label or a bend (without width) of an arrow; x is its middle."""

    rank: int
    width: float = 0.0
    height: float = 0.0
    above: list[_Item] = field(default_factory=list)
    below: list[_Item] = field(default_factory=list)
    x: float = 0.0
    top: float = 0.0

    @property
    def weight(self) -> float:
        """How much it holds its place: bends most, what only begins or ends least."""
        return 10.0 if not self.width else 1.0 if self.above and self.below else 0.1

    def wanted(self, up: bool, down: bool) -> float:
        """Where it is straight above or below the weightiest of those it is joined with."""
        others = self.above * up + self.below * down
        most = max((other.weight for other in others), default=0.0)
        middle = median([other.x for other in others if other.weight == most] or [self.x])
        return middle if up and down else 0.8 * middle  # lest deep graphs drift to one side


def _width(text: str, size: float) -> float:
    """About how wide a sans-serif font sets `text`, rather too wide than too narrow."""
    wide = sum(s in "mwMW@%" or s > "\u2100" or east_asian_width(s) in "WF" for s in text)
    return size * (0.52 * len(text) + 0.2 * sum(map(str.isupper, text)) + 0.5 * wide)


def _ranks(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """By longest path from the first box; other sources stand directly above a reader."""
    ranks = [0] * n
    edges = sorted(edges, key=lambda edge: edge[1])
    sources = set(range(1, n)).difference(lower for _, lower in edges)
    for _ in range(2):
        for upper, lower in edges:
            ranks[lower] = max(ranks[lower], ranks[upper] + 1)
        for upper, lower in edges:
            if upper in sources:
                ranks[upper] = max(ranks[upper], ranks[lower] - 1)
    return ranks


def _chains(view: Diagram) -> tuple[list[_Item], list[list[_Item]]]:
    """The boxes, then labels and bends; for each arrow the items it passes, from the upper box.

    Arrows that lead far to the same box share a lane: one that meets it ends there.
    """
    edges = [(min(a.source, a.target), max(a.source, a.target)) for a in view.arrows]
    step = 2 if any(arrow.label for arrow in view.arrows) else 1  # labels have ranks of their own
    items = []
    for box, rank in zip(view.boxes, _ranks(len(view.boxes), edges), strict=True):
        width = max(_width(box.texts[0], 14), *(_width(text, 12) for text in box.texts[1:]))
        items.append(_Item(step * rank, max(width + 24, 56), 13 + _LINE * len(box.texts)))
    lanes: dict[tuple[int, int], _Item] = {}
    chains = []
    for arrow, (upper, lower) in zip(view.arrows, edges, strict=True):
        chain = [items[upper]]
        for rank in range(items[upper].rank + 1, items[lower].rank):
            if arrow.label and len(chain) == 1:
                chain.append(_Item(rank, _width(arrow.label, 12) + 12, 20))
            elif (lower, rank) in lanes:
                chain.append(lanes[lower, rank])
                break
            else:
                lanes[lower, rank] = _Item(rank)
                chain.append(lanes[lower, rank])
            items.append(chain[-1])
        else:
            chain.append(items[lower])
        chains.append(chain)
        for one, other in pairwise(chain):
            one.below.append(other)
            other.above.append(one)
    return items, chains


def _spread(rank: Sequence[_Item], wanted: Sequence[float]) -> None:
    """Place neighbours side by side, each as near as can be to where it is wanted."""
    offsets = [0.0]
    for one, other in pairwise(rank):
        offsets.append(offsets[-1] + (one.width + other.width) / 2 + _GAP)
    groups: list[tuple[float, float, int]] = []  # of those that touch: weight, shift, how many
    for item, offset, want in zip(rank, offsets, wanted, strict=True):
        weight, shift, count = item.weight, want - offset, 1
        while groups and groups[-1][1] >= shift:
            heavy, far, many = groups.pop()
            shift = (weight * shift + heavy * far) / (weight + heavy)
            weight, count = weight + heavy, count + many
        groups.append((weight, shift, count))
    shifts = [shift for _, shift, count in groups for _ in range(count)]
    for item, offset, shift in zip(rank, offsets, shifts, strict=True):
        item.x = offset + shift


def _place(items: Sequence[_Item], top: float) -> None:
    """Set where all items are."""
    ranks: list[list[_Item]] = [[] for _ in range(max(item.rank for item in items) + 1)]
    for item in items:
        ranks[item.rank].append(item)
    for sweep in range(_SWEEPS):
        down, last = sweep % 2 == 0, sweep >= _SWEEPS - 4  # the last look both ways, in order kept
        for rank in ranks if down else reversed(ranks):
            wanted = {item: item.wanted(down or last, not down or last) for item in rank}
            if not last:
                rank.sort(key=wanted.__getitem__)
            _spread(rank, [wanted[item] for item in rank])
    left = min(item.x - item.width / 2 for item in items) - _MARGIN
    for item in items:
        item.x -= left
    for rank in ranks:
        height = max(item.height for item in rank)
        for item in rank:
            item.height = item.height or height  # bends run through
            item.top = top + (height - item.height) / 2
        across = max((abs(item.x - other.x) for item in rank for other in item.below), default=0)
        top += height + min(max(30.0, across / 8), 120.0)


def _port(item: _Item, other: _Item, aside: float) -> float:
    """Where an arrow meets an item: on the side of the other one."""
    reach = max(item.width / 2 - 26, 0.0)
    return item.x + max(-reach, min(reach, (other.x - item.x) / 5)) + aside * (item.width > 0)


def _group(kind: str, item: _Item, texts: Sequence[str], fill: str, border: str) -> str:
    """A rectangle with lines of text in its middle."""
    first = item.top + (item.height - _LINE * (len(texts) - 1)) / 2 + 4.5
    parts = [
        f'<g class="{kind}" fill="{TEXT}" text-anchor="middle">'
        f'<rect x="{item.x - item.width / 2:.1f}" y="{item.top:.1f}" width="{item.width:.1f}" '
        f'height="{item.height:.1f}" rx="9" fill="{fill}" stroke="{border}"/>'
    ]
    for i, text in enumerate(texts):
        title = ' font-size="14" font-weight="bold"' if kind == "box" and i == 0 else ""
        at = f'x="{item.x:.1f}" y="{first + _LINE * i:.1f}"'
        parts.append(f"<text {at}{title}>{escape(text)}</text>")
    return "".join([*parts, "</g>"])


def svg(view: Diagram) -> Drawing:
    """The diagram as an SVG picture, to be shown as a file or within a page, light or dark."""
    items, chains = _chains(view)
    caption = [view.title, *view.notes]
    _place(items, 22 + 18 * len(caption))
    right = max(item.x + item.width / 2 for item in items)
    width = max(right, *(_width(line, 12) + _MARGIN for line in caption)) + _MARGIN
    height = max(item.top + item.height for item in items) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-size="12" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
        f"<title>{escape(view.title)}</title>",
    ]
    for i, text in enumerate(caption):
        at = f'x="{_MARGIN:g}" y="{20 + 18 * i}" fill="{CAPTION}"'
        parts.append(f"<text {at}>{escape(text)}</text>")
    labels = []
    seen: Counter[tuple[int, int]] = Counter()
    ahead, end = (-1, 0) if view.upward else (1, -1)  # where the head points, where it sits
    for arrow, chain in zip(view.arrows, chains, strict=True):
        color, head, line = STROKE[arrow.kind], "", []
        aside = (0, 12, -12)[seen[arrow[:2]] % 3] if not arrow.label else 0  # x + x reads x twice
        seen[arrow[:2]] += 1
        for one, other in pairwise(chain):
            line.append((_port(one, other, aside), one.top + one.height))
            line.append((_port(other, one, aside), other.top))
        if chain[end] is items[arrow.target]:
            x, y = line[end]
            line[end] = x, y - 7 * ahead  # the line ends within the head
            head = f'<path d="M{x:.1f},{y:.1f}l-4.5,{-9 * ahead}h9z" fill="{color}"/>'
        path = "M{:.1f},{:.1f}".format(*line[0])
        for (x, y), (to_x, to_y) in pairwise(line):  # upright at each point
            half = (y + to_y) / 2
            path += f"C{x:.1f},{half:.1f} {to_x:.1f},{half:.1f} {to_x:.1f},{to_y:.1f}"
        dashes = ' stroke-dasharray="5 4"' if arrow.kind == "penalty" else ""
        parts.append(
            f'<g class="arrow" data-from="{arrow.source}" data-to="{arrow.target}">'
            f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dashes}/>{head}</g>'
        )
        if arrow.label:
            labels.append(_group("label", chain[1], [arrow.label], "#ffffff", color))
    for box, item in zip(view.boxes, items, strict=False):
        labels.append(_group("box", item, box.texts, *FILL[box.kind]))
    return Drawing("\n".join([*parts, *labels, "</svg>"]) + "\n")
