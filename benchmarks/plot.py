"""Lines over a number of sessions, as an SVG."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 160, 36, 48
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
Point = tuple[float, float]


def write_plot(
    path: Path,
    lines: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    limit: float | None = None,
) -> None:
    """Write lines from the origin on, with their names beside.

    Args:
        path: Of the SVG.
        lines: Points by name.
        title: Above.
        x_label: Of the horizontal axis.
        y_label: Of the vertical axis.
        limit: A value of the vertical axis to mark.
    """
    points = [point for line in lines.values() for point in line]
    most_x = _round_up(max((x for x, _ in points), default=1.0))
    most_y = _round_up(max([y for _, y in points] + ([] if limit is None else [limit])))
    span_x, span_y = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(point: Point) -> tuple[float, float]:
        x, y = point
        return LEFT + x / most_x * span_x, HEIGHT - BOTTOM - y / most_y * span_y

    size = {"width": str(WIDTH), "height": str(HEIGHT), "viewBox": f"0 0 {WIDTH} {HEIGHT}"}
    root = ElementTree.Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", **size, "font-family": "sans-serif"}
    )
    ElementTree.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    _text(root, WIDTH / 2, TOP / 2 + 4, title, "middle", 14)
    _text(root, LEFT + span_x / 2, HEIGHT - 10, x_label, "middle", 12)
    _text(root, 8, TOP - 8, y_label, "start", 12)
    for step in range(6):
        x, y = at((most_x * step / 5, most_y * step / 5))
        _line(root, [(LEFT, y), (LEFT + span_x, y)], "#ddd")
        _text(root, LEFT - 6, y + 4, f"{most_y * step / 5:g}", "end", 11)
        _text(root, x, HEIGHT - BOTTOM + 16, f"{most_x * step / 5:g}", "middle", 11)
    if limit is not None:
        _line(root, [at((0, limit)), at((most_x, limit))], "#888", dashes="5 4")
    for number, (name, line) in enumerate(lines.items()):
        color = COLORS[number % len(COLORS)]
        _line(root, [at(point) for point in line], color, dots=True)
        row = TOP + 18 * number + 12
        _line(root, [(WIDTH - RIGHT + 12, row), (WIDTH - RIGHT + 32, row)], color)
        _text(root, WIDTH - RIGHT + 38, row + 4, name, "start", 12)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _round_up(value: float) -> float:
    """The next number that is 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** len(str(int(max(value, 1)))) / 10
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value)


def _line(
    root: ElementTree.Element,
    points: Sequence[Point],
    color: str,
    *,
    dashes: str = "none",
    dots: bool = False,
) -> None:
    shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = {"fill": "none", "stroke": color, "stroke-width": "1.5", "stroke-dasharray": dashes}
    ElementTree.SubElement(root, "polyline", {"points": shown, **style})
    for x, y in points if dots else ():
        circle = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3", "fill": color}
        ElementTree.SubElement(root, "circle", circle)


def _text(root: ElementTree.Element, x: float, y: float, text: str, anchor: str, size: int) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "font-size": str(size)}
    ElementTree.SubElement(root, "text", place).text = text
