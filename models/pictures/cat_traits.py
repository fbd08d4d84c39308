"""What is random about a cat: every draw is made here, in one fixed order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from models.pictures.canvas import Colour, mix

T = TypeVar("T")

COATS = ("black", "brown_tabby", "calico", "ginger_tabby", "grey", "siamese", "tuxedo", "white")

FUR: dict[str, Colour] = {
    "black": (52, 50, 60),
    "brown_tabby": (158, 116, 80),
    "calico": (248, 242, 232),
    "ginger_tabby": (238, 154, 72),
    "grey": (142, 150, 164),
    "siamese": (240, 224, 196),
    "tuxedo": (54, 52, 62),
    "white": (250, 248, 244),
}
BACKDROPS: tuple[Colour, ...] = (
    (255, 206, 158),
    (166, 224, 186),
    (146, 204, 246),
    (164, 174, 242),
    (206, 170, 238),
    (252, 180, 206),
    (250, 226, 140),
    (116, 200, 200),
    (246, 152, 142),
    (92, 108, 176),
)
IRISES: tuple[Colour, ...] = ((124, 204, 84), (250, 208, 70), (96, 168, 240), (226, 146, 60))
ACCENTS: tuple[Colour, ...] = ((224, 62, 84), (64, 118, 226), (46, 168, 118), (250, 204, 64), (152, 84, 200))
INK: Colour = (30, 24, 32)

SCENES = ("plain", "plain", "floor", "disc", "sky")
POSES = ("sitting", "sitting", "tail", "tail", "peeking")
EYES = ("open", "open", "open", "open", "open", "open", "sleepy", "happy", "wink", "wide")
MOUTHS = ("smile", "smile", "smile", "open", "small")
ACCESSORIES = ("none", "none", "none", "none", "collar", "collar", "bow tie", "scarf", "ear bow", "party hat")


@dataclass(frozen=True)
class Traits:
    """One cat. Lengths in picture units (32 to the picture), angles in radians."""

    coat: str
    fur: Colour
    iris: Colour
    backdrop: Colour
    second: Colour  # the other colour of the scene
    accent: Colour  # of the accessory
    scene: str
    pose: str
    eyes: str
    mouth: str
    accessory: str
    side: int  # -1 or 1: where the tail, the wink and the bow are
    centre: tuple[float, float]
    tilt: float
    width: float  # of half the head
    height: float  # of half the head
    turn: float  # how far the face looks aside, in units
    ear: float
    eye: float  # radius
    pupil: float  # share of the iris
    blush: bool


def draw_traits(rng: random.Random, coat: str) -> Traits:
    """All traits of one cat, by repeated `rng.random()`."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * rng.random()

    def pick(options: Sequence[T]) -> T:
        return options[int(rng.random() * len(options))]

    def shade(colour: Colour, spread: float) -> Colour:
        light = between(-spread, spread)
        return (
            min(255, max(0, round(colour[0] + light + between(-3, 3)))),
            min(255, max(0, round(colour[1] + light + between(-3, 3)))),
            min(255, max(0, round(colour[2] + light + between(-3, 3)))),
        )

    backdrop = shade(pick(BACKDROPS), 8)
    return Traits(
        coat=coat,
        fur=shade(FUR[coat], 8),
        iris=(110, 184, 250) if coat == "siamese" else pick(IRISES),
        backdrop=backdrop,
        second=mix(backdrop, *pick((((255, 255, 255), 0.45), ((60, 50, 90), 0.25)))),
        accent=pick(ACCENTS),
        scene=pick(SCENES),
        pose=pick(POSES),
        eyes=pick(EYES),
        mouth=pick(MOUTHS),
        accessory=pick(ACCESSORIES),
        side=pick((-1, 1)),
        centre=(16 + between(-0.8, 0.8), 17.6 + between(-0.7, 0.7)),
        tilt=between(-0.13, 0.13),
        width=between(9.8, 11.0),
        height=between(8.2, 9.2),
        turn=between(-0.9, 0.9),
        ear=between(5.6, 7.2),
        eye=between(2.3, 2.8),
        pupil=between(0.42, 0.78),
        blush=rng.random() < 0.35,
    )
