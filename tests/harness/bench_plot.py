"""Two panels of step lines over one axis of seconds, as SVG and without any library."""

from typing import NamedTuple

WIDTH, PANEL, LEFT, TOP, GAP = 900, 220, 60, 50, 60
TICKS = 5


class Line(NamedTuple):
    name: str
    colour: str
    points: list[tuple[float, float]]


def plot(title: str, *panels: list[Line]) -> str:
    """Each panel has its own height; what a point says holds until the next."""
    last = max(at for lines in panels for line in lines for at, _ in line.points)
    height = TOP + len(panels) * (PANEL + GAP)
    drawn = [f'<text x="{LEFT}" y="26" font-size="17">{title}</text>']
    for index, lines in enumerate(panels):
        drawn.append(_panel(lines, TOP + index * (PANEL + GAP), last))
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {style}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>', *drawn, "</svg>\n"])


def _panel(lines: list[Line], top: int, last: float) -> str:
    most = max(1.0, max(value for line in lines for _, value in line.points))
    across = lambda at: LEFT + at / last * (WIDTH - LEFT - 20)
    up = lambda value: top + PANEL - value / most * PANEL
    drawn = []
    for tick in range(TICKS + 1):
        value, at = most * tick / TICKS, last * tick / TICKS
        drawn.append(f'<path d="M{LEFT} {up(value):.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>')
        drawn.append(f'<text x="{across(at):.1f}" y="{top + PANEL + 18}" text-anchor="middle">{at:.1f} s</text>')
    for place, line in enumerate(lines):
        (at, value), *rest = line.points
        path = f"M{across(at):.1f} {up(value):.1f}" + "".join(f"H{across(at):.1f}V{up(value):.1f}" for at, value in rest)
        drawn.append(f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{LEFT + 12 + 180 * place}" y="{top + 16}" fill="{line.colour}">{line.name}</text>')
    return "\n".join(drawn)
