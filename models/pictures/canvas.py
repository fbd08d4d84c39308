"""A drawing surface in picture units: whatever its size in pixels, the picture is 32 units wide and high."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

UNITS = 32
OVERSAMPLING = 4  # drawn this many times larger, then averaged down: that is all the anti-aliasing
CORNERS = 24  # of the polygon that stands for an ellipse; round enough at 64 pixels

_CIRCLE = [(math.cos(2 * math.pi * k / CORNERS), math.sin(2 * math.pi * k / CORNERS)) for k in range(CORNERS)]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` (0 … 1) of the way from `a` to `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


class Canvas:
    """The pixels. Shapes are drawn through a `Brush`."""

    def __init__(self, size: int, colour: Colour) -> None:
        self.size = size
        self.pixels_per_unit = size * OVERSAMPLING / UNITS
        self.image = Image.new("RGB", (size * OVERSAMPLING, size * OVERSAMPLING), colour)
        self.draw = ImageDraw.Draw(self.image)

    def picture(self) -> Image.Image:
        """The finished picture: RGB, `size` × `size`."""
        return self.image.reduce(OVERSAMPLING)


class Brush:
    """Draws on a canvas around an origin, turned by `tilt` radians and widened by `grow` units.

    The same parts drawn first with a dark brush that grows, then with a plain one, get an outline.
    """

    def __init__(self, canvas: Canvas, origin: Point, tilt: float = 0.0, grow: float = 0.0) -> None:
        self._draw = canvas.draw
        self._scale = canvas.pixels_per_unit
        self._origin = origin
        self._cos, self._sin = math.cos(tilt), math.sin(tilt)
        self._grow = grow

    def _place(self, points: Sequence[Point]) -> list[Point]:
        x0, y0 = self._origin
        c, s, u = self._cos, self._sin, self._scale
        return [((x0 + x * c - y * s) * u, (y0 + x * s + y * c) * u) for x, y in points]

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        rx, ry = rx + self._grow, ry + self._grow
        self._draw.polygon(self._place([(x + rx * c, y + ry * s) for c, s in _CIRCLE]), fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        placed = self._place(points)
        self._draw.polygon(placed, fill=fill)
        if self._grow:
            self._draw.line(
                [*placed, placed[0]], fill=fill, width=round(2 * self._grow * self._scale), joint="curve"
            )

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A line with round ends and corners, `width` units wide."""
        placed = self._place(points)
        pixels = max(1, round((width + 2 * self._grow) * self._scale))
        self._draw.line(placed, fill=fill, width=pixels, joint="curve")
        r = pixels / 2
        for x, y in (placed[0], placed[-1]):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
