"""The report's pictures as inline SVG: text in, text out, colours by CSS class so that they follow light and dark.

Every number is printed with fixed decimals: the same input gives the same bytes.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from stages.evaluation.records import F64, I64

HEAT_LEVELS = 12
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420, 220, 44, 30, 12
_MAX_POINTS = 240
_DOTTED_FROM = 12
_CELL_HEIGHT, _MAP_LEFT, _MAP_TOP = 24.0, 26.0, 6.0
_STRIP_WIDTH, _STRIP_HEIGHT = 64.0, 44.0
_BIN_EDGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def training_curve(name: str, steps: I64, values: F64) -> str:
    """Draw the loss, or a term of it, over the steps, averaged over runs of steps where there are more than fit.

    Args:
        name: of what is drawn.
        steps: (N,) int64, rising, N >= 1.
        values: (N,) float64.

    Returns:
        An SVG element.
    """
    groups = np.array_split(np.arange(steps.size), min(steps.size, _MAX_POINTS))
    x = np.array([steps[group].mean() for group in groups])
    y = np.array([values[group].mean() for group in groups])
    ticks = nice_ticks(min(0.0, float(y.min())), float(y.max()))
    low, high = ticks[0], ticks[-1]
    span = max(float(x[-1] - x[0]), 1.0)
    px = _LEFT + (x - x[0]) / span * (_WIDTH - _LEFT - 12)
    py = _level(y, low, high)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    area = f"{px[0]:.1f},{_level(low, low, high):.1f} {line} {px[-1]:.1f},{_level(low, low, high):.1f}"
    parts = [_y_axis(ticks), f'<polygon class="area" points="{area}"/>', f'<polyline class="line" points="{line}"/>']
    parts += [
        _text(_LEFT, _HEIGHT - 8, f"step {int(steps[0])}", "start"),
        _text(_WIDTH - 12, _HEIGHT - 8, f"step {int(steps[-1])}", "end"),
    ]
    return _svg(_WIDTH, _HEIGHT, f"Training: {name}, last {values[-1]:.3f}", parts)


def rank_histogram(ranks: F64, tail: F64) -> str:
    """Draw how many queries have which rank, with a mark where a random order would put them.

    Args:
        ranks: (Q,) float64.
        tail: (G + 1,) float64, P(rank > r) of a random order, as `chance.mixed_survival` gives it.

    Returns:
        An SVG element.
    """
    bounds = rank_bins(tail.size - 1)
    lows = np.array([0, *bounds[:-1]])
    shares = np.array([np.mean((ranks > a) & (ranks <= b)) for a, b in zip(lows, bounds, strict=True)])
    expected = np.array([tail[a] - tail[b] for a, b in zip(lows, bounds, strict=True)])
    ticks = nice_ticks(0.0, float(max(shares.max(), expected.max())))
    step = (_WIDTH - _LEFT - 12) / len(bounds)
    parts = [_y_axis(ticks, percent=True)]
    for i, (low, high, share, chance) in enumerate(zip(lows, bounds, shares, expected, strict=True)):
        left, top = _LEFT + i * step + 3, float(_level(share, 0.0, ticks[-1]))
        mark = float(_level(chance, 0.0, ticks[-1]))
        base = float(_level(0.0, 0.0, ticks[-1]))
        label = f"{high}" if high == low + 1 else f"{low + 1}–{high}"
        parts.append(
            f"<g><title>rank {label}: {share:.1%} of queries, chance {chance:.1%}</title>"
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{step - 6:.1f}" height="{base - top:.1f}" rx="2"/>'
            f'<line class="chance" x1="{left - 2:.1f}" x2="{left + step - 4:.1f}" y1="{mark:.1f}" y2="{mark:.1f}"/></g>'
        )
        short = f"{low + 1}+" if high == bounds[-1] and high > 100 else label
        parts.append(_text(left + step / 2 - 3, _HEIGHT - 8, short, "middle"))
    return _svg(_WIDTH, _HEIGHT, "Share of queries by rank", parts)


def rank_bins(gallery_size: int) -> list[int]:
    """Upper ends of the histogram's bins: at most eight, the last is the gallery's size."""
    inner = [edge for edge in _BIN_EDGES if edge < gallery_size]
    return [*inner[:7], gallery_size]


def alignment_map(
    similarity: F64, path: Sequence[tuple[int, int]], told: NDArray[np.bool_], spans: F64, strip: Sequence[str] = ()
) -> str:
    """Draw sentence x window similarity with the alignment's path and the windows that the transcript names.

    Args:
        similarity: (S, N) float64.
        path: (sentence, window) cells in order.
        told: (S, N) bool, the windows of each sentence's own span; all False where the video is another one.
        spans: (N, 2) float64 seconds of the windows.
        strip: a picture of each window as a data address ('' for none), to be shown below; may be empty.

    Returns:
        An SVG element in natural size, to be put into a box that scrolls.
    """
    rows, columns = similarity.shape
    cell_w, cell_h, left, top = float(np.clip(640 // columns, 6, 34)), _CELL_HEIGHT, _MAP_LEFT, _MAP_TOP
    parts = _cells(similarity, told, cell_w)
    points = [(left + (j + 0.5) * cell_w, top + (i + 0.5) * cell_h) for i, j in path]
    parts.append(f'<polyline class="path" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>')
    if cell_w >= _DOTTED_FROM:
        parts += [f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="2.6"/>' for x, y in points]
    parts += [_text(left - 6, top + (i + 0.5) * cell_h + 4, str(i + 1), "end") for i in range(rows)]
    every = max(1, int(np.ceil(48 / cell_w)))
    bottom = top + rows * cell_h + 16
    parts += [
        _text(left + (j + 0.5) * cell_w, bottom, clock(float(spans[j, 0])), "middle") for j in range(0, columns, every)
    ]
    if any(strip):
        parts += _film_strip(strip, cell_w, bottom + 6)
        bottom += _STRIP_HEIGHT + 6
    title = f"Similarity of {rows} sentences and {columns} windows with their alignment"
    return _svg(left + columns * cell_w + 14, bottom + 8, title, parts, natural=True)


def _film_strip(strip: Sequence[str], cell_w: float, top: float) -> list[str]:
    """Pictures below their windows, as many as have room beside one another."""
    every = max(1, int(np.ceil(_STRIP_WIDTH / cell_w)))
    width = every * cell_w - 2
    return [
        f'<image x="{_MAP_LEFT + j * cell_w:g}" y="{top:g}" width="{width:g}" height="{_STRIP_HEIGHT:g}" '
        f'preserveAspectRatio="xMidYMid slice" href="{strip[middle]}"/>'
        for j in range(0, len(strip), every)
        if strip[middle := min(j + every // 2, len(strip) - 1)]
    ]


def _cells(similarity: F64, told: NDArray[np.bool_], cell_w: float) -> list[str]:
    """One path a level of colour: far fewer bytes than one rectangle a cell."""
    low, high = float(similarity.min()), float(similarity.max())
    levels = np.minimum((similarity - low) / max(high - low, 1e-12) * HEAT_LEVELS, HEAT_LEVELS - 1).astype(int)
    parts = []
    for level in range(HEAT_LEVELS):
        corners = [(_MAP_LEFT + j * cell_w, _MAP_TOP + i * _CELL_HEIGHT) for i, j in np.argwhere(levels == level)]
        if corners:
            cells = "".join(f"M{x:g} {y:g}h{cell_w:g}v{_CELL_HEIGHT:g}h-{cell_w:g}z" for x, y in corners)
            parts.append(f'<path class="h{level}" d="{cells}"/>')
    for row in range(told.shape[0]):
        for start, stop in _runs(told[row]):
            place = f'x="{_MAP_LEFT + start * cell_w + 1:g}" y="{_MAP_TOP + row * _CELL_HEIGHT + 1.5:g}"'
            size = f'width="{(stop - start) * cell_w - 2:g}" height="{_CELL_HEIGHT - 3:g}"'
            parts.append(f'<rect class="told" {place} {size} rx="2"/>')
    return parts


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def clock(seconds: float) -> str:
    """Write seconds as people read them in a player: `m:ss`, with hours where there are any."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def nice_ticks(low: float, high: float) -> list[float]:
    """Round tick values that enclose [low, high]: three to six of them, steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 5)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step - 1e-9))
    return [float(i * step) for i in range(first, max(last, first + 1) + 1)]


def _level(value: F64 | float, low: float, high: float) -> F64:
    share = (np.asarray(value, dtype=np.float64) - low) / max(high - low, 1e-12)
    return np.asarray(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP))


def _y_axis(ticks: Sequence[float], *, percent: bool = False) -> str:
    parts = []
    for tick in ticks:
        y = float(_level(tick, ticks[0], ticks[-1]))
        label = (
            f"{tick:.0%}" if percent and ticks[1] - ticks[0] >= 0.0099 else f"{tick:.1%}" if percent else f"{tick:g}"
        )
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 6, y + 4, label, "end"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, title: str, parts: Sequence[str], *, natural: bool = False) -> str:
    size = f' width="{width:g}" height="{height:g}"' if natural else ""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}"{size} role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
