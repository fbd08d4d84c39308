"""The parts of a drawn cat, from the back of the picture to the front."""

from models.pictures.canvas import UNITS, Brush, Canvas, Colour, mix
from models.pictures.cat_traits import INK, Traits

WHITE: Colour = (255, 255, 255)
CREAM: Colour = (252, 249, 244)
PINK: Colour = (246, 160, 170)
CALICO_ORANGE: Colour = (234, 146, 66)
CALICO_BLACK: Colour = (66, 58, 62)
TABBIES = ("brown_tabby", "ginger_tabby")
OUTLINE = 0.55  # units
LEDGE = 27.6  # height of the edge that a peeking cat looks over


def _dark(traits: Traits) -> Colour:
    return mix(traits.fur, (46, 26, 20), 0.55)


def _points(traits: Traits) -> Colour:
    """The colour of ears and tail: dark on a siamese, as the fur elsewhere."""
    return mix(traits.fur, (60, 40, 36), 0.75) if traits.coat == "siamese" else traits.fur


def _edge(traits: Traits) -> Colour:
    return (26, 24, 34) if traits.coat in ("black", "tuxedo") else mix(traits.fur, (50, 32, 44), 0.62)


def draw_backdrop(canvas: Canvas, traits: Traits) -> None:
    brush = Brush(canvas, (0, 0))
    if traits.scene == "floor":
        brush.polygon([(0, 23), (UNITS, 23), (UNITS, UNITS), (0, UNITS)], traits.second)
    elif traits.scene == "disc":
        brush.ellipse(16, 15, 14.2, 14.2, traits.second)
    elif traits.scene == "sky":
        for row in range(UNITS):
            colour = mix(traits.second, traits.backdrop, row / (UNITS - 1))
            brush.polygon([(0, row), (UNITS, row), (UNITS, row + 1), (0, row + 1)], colour)


def draw_body(canvas: Canvas, traits: Traits) -> None:
    x, y = traits.centre
    outline, brush = Brush(canvas, (x, y), grow=OUTLINE), Brush(canvas, (x, y))
    if traits.pose == "tail":
        s = traits.side
        tail = [(s * 7.5, 13.5), (s * 11.6, 11.4), (s * 13.0, 7.6), (s * 11.9, 4.4), (s * 13.2, 1.8)]
        outline.line(tail, 2.6, _edge(traits))
        brush.line(tail, 2.6, CALICO_ORANGE if traits.coat == "calico" else _points(traits))
    top = traits.height + 5.4
    outline.ellipse(0, top, 8.8, 7.4, _edge(traits))
    brush.ellipse(0, top, 8.8, 7.4, mix(traits.fur, INK, 0.08))
    chest = CREAM if traits.coat in ("tuxedo", "calico", "white") else mix(traits.fur, WHITE, 0.22)
    brush.ellipse(0, top + 0.6, 4.2, 6.0, chest)


def draw_head(canvas: Canvas, traits: Traits) -> None:
    outline = Brush(canvas, traits.centre, traits.tilt, OUTLINE)
    brush = Brush(canvas, traits.centre, traits.tilt)
    _skull(outline, traits, _edge(traits))
    _skull(brush, traits, None)
    _coat(brush, traits)
    face = Brush(canvas, (traits.centre[0] + traits.turn, traits.centre[1]), traits.tilt)
    _muzzle(face, traits)
    for side in (-1, 1):
        _eye(face, traits, side)


def _skull(brush: Brush, traits: Traits, flat: Colour | None) -> None:
    """Ears and head; all in the colour `flat` where one is given, which makes the outline."""
    w, h = traits.width, traits.height
    for side in (-1, 1):
        tip = (side * w * 0.80, -h * 0.60 - traits.ear)
        ear = _points(traits)
        if traits.coat == "calico":
            ear = CALICO_ORANGE if side < 0 else CALICO_BLACK
        brush.polygon([(side * w * 0.95, -h * 0.20), tip, (side * w * 0.14, -h * 0.84)], flat or ear)
        if flat is None:
            inner = (side * w * 0.76, -h * 0.58 - traits.ear * 0.66)
            brush.polygon([(side * w * 0.84, -h * 0.42), inner, (side * w * 0.36, -h * 0.80)], PINK)
    brush.ellipse(0, 0, w * 0.97, h, flat or traits.fur)
    for side in (-1, 1):
        brush.ellipse(side * w * 0.45, h * 0.26, w * 0.57, h * 0.64, flat or traits.fur)


def _coat(brush: Brush, traits: Traits) -> None:
    w, h, dark = traits.width, traits.height, _dark(traits)
    if traits.coat == "calico":
        brush.ellipse(-w * 0.48, -h * 0.36, w * 0.44, h * 0.50, CALICO_ORANGE)
        brush.ellipse(w * 0.50, -h * 0.34, w * 0.42, h * 0.50, CALICO_BLACK)
    elif traits.coat == "siamese":
        brush.ellipse(traits.turn * 0.6, h * 0.26, w * 0.62, h * 0.64, mix(traits.fur, (60, 40, 36), 0.66))
    elif traits.coat == "tuxedo":
        brush.polygon([(0, -h * 0.60), (w * 0.46, h * 0.80), (-w * 0.46, h * 0.80)], CREAM)
    elif traits.coat in TABBIES:
        for k in (-1, 0, 1):
            brush.line([(k * w * 0.26, -h * 0.84), (k * w * 0.20, -h * 0.50)], 1.3, dark)
        for side in (-1, 1):
            for k in (0, 1):
                start, end = (side * w * 0.94, h * (0.12 + 0.32 * k)), (side * w * 0.72, h * (0.16 + 0.28 * k))
                brush.line([start, end], 1.2, dark)


def _muzzle(face: Brush, traits: Traits) -> None:
    w, h = traits.width, traits.height
    shades = {"siamese": 0.20, "black": 0.22, "grey": 0.45}
    muzzle = mix(_points(traits), WHITE, shades[traits.coat]) if traits.coat in shades else CREAM
    for side in (-1, 1):
        face.ellipse(side * w * 0.20, h * 0.50, w * 0.28, h * 0.28, muzzle)
        if traits.blush:
            face.ellipse(side * w * 0.68, h * 0.40, 1.7, 1.2, mix(traits.fur, (255, 110, 130), 0.55))
    lips = (236, 190, 190) if traits.coat in ("black", "siamese") else (112, 56, 62)
    if traits.mouth == "smile":
        for side in (-1, 1):
            face.line([(0, h * 0.44), (side * w * 0.11, h * 0.60), (side * w * 0.26, h * 0.56)], 0.8, lips)
    elif traits.mouth == "open":
        face.ellipse(0, h * 0.62, w * 0.14, h * 0.17, (196, 62, 80))
    else:
        face.line([(-w * 0.13, h * 0.61), (w * 0.13, h * 0.61)], 0.8, lips)
    face.polygon([(-w * 0.15, h * 0.27), (w * 0.15, h * 0.27), (0, h * 0.46)], (238, 120, 138))


def _eye(face: Brush, traits: Traits, side: int) -> None:
    x, y, r = side * traits.width * 0.44, -traits.height * 0.06, traits.eye
    line = (240, 230, 220) if traits.coat in ("black", "tuxedo") else INK
    if traits.coat == "calico" and side > 0:
        line = (240, 230, 220)
    if traits.eyes == "happy" or (traits.eyes == "wink" and side == traits.side):
        face.line([(x - r, y + 0.7), (x, y - 1.0), (x + r, y + 0.7)], 1.1, line)
        return
    if traits.eyes == "wide":
        r *= 1.15
    pupil = 0.85 if traits.eyes == "wide" else traits.pupil
    look = traits.turn * 0.35
    face.ellipse(x, y, r * 1.12, r * 1.2, INK)
    face.ellipse(x, y, r * 0.9, r, traits.iris)
    face.ellipse(x + look, y, r * 0.9 * pupil, r * 0.88, (18, 14, 20))
    face.ellipse(x + look - 0.75, y - 0.9, 0.8, 0.8, WHITE)
    if traits.eyes == "sleepy":
        lid = traits.fur
        if traits.coat == "calico":
            lid = CALICO_ORANGE if side < 0 else CALICO_BLACK
        left, right, top = x - r * 1.3, x + r * 1.3, y - r * 1.35
        face.polygon([(left, top), (right, top), (right, y - 0.3), (left, y - 0.3)], lid)
        face.line([(x - r, y - 0.3), (x + r, y - 0.3)], 0.9, line)


def draw_front(canvas: Canvas, traits: Traits) -> None:
    """Accessories, and the edge that a peeking cat looks over."""
    edge = mix(traits.accent, INK, 0.45)
    _around_the_neck(Brush(canvas, traits.centre), traits, edge)
    _on_the_head(Brush(canvas, traits.centre, traits.tilt), traits, edge)
    if traits.pose == "peeking":
        wood = mix(traits.second, (120, 78, 52), 0.6)
        Brush(canvas, (0, 0)).polygon([(0, LEDGE), (UNITS, LEDGE), (UNITS, UNITS), (0, UNITS)], wood)
        paw = CREAM if traits.coat in ("tuxedo", "calico") else _points(traits)
        ledge = (traits.centre[0], LEDGE)
        for side in (-1, 1):
            Brush(canvas, ledge, grow=OUTLINE).ellipse(side * 6.4, 0.2, 2.5, 2.0, _edge(traits))
            Brush(canvas, ledge).ellipse(side * 6.4, 0.2, 2.5, 2.0, paw)


def _around_the_neck(brush: Brush, traits: Traits, edge: Colour) -> None:
    h, accent = traits.height, traits.accent
    if traits.accessory == "collar":
        brush.line([(-5.6, h + 0.3), (0, h + 1.5), (5.6, h + 0.3)], 1.5, accent)
        brush.ellipse(0, h + 2.3, 1.5, 1.5, (252, 212, 80))
    elif traits.accessory == "bow tie":
        for side in (-1, 1):
            brush.polygon([(0, h + 1.8), (side * 4.2, h - 0.3), (side * 4.2, h + 3.9)], accent)
        brush.ellipse(0, h + 1.8, 1.2, 1.2, edge)
    elif traits.accessory == "scarf":
        brush.line([(-6.6, h + 0.6), (0, h + 1.8), (6.6, h + 0.6)], 3.0, accent)
        brush.line([(traits.side * 3.6, h + 2.0), (traits.side * 4.4, h + 6.0)], 2.8, edge)


def _on_the_head(brush: Brush, traits: Traits, edge: Colour) -> None:
    w, h, accent = traits.width, traits.height, traits.accent
    if traits.accessory == "ear bow":
        x, y = traits.side * w * 0.56, -h * 0.80
        for side in (-1, 1):
            brush.polygon([(x, y), (x + side * 3.4, y - 2.0), (x + side * 3.4, y + 2.0)], accent)
        brush.ellipse(x, y, 1.1, 1.1, edge)
    elif traits.accessory == "party hat":
        brush.polygon([(-3.4, -h * 0.86), (3.4, -h * 0.86), (0, -h - 6.0)], accent)
        brush.ellipse(0, -h - 6.0, 1.4, 1.4, CREAM)
