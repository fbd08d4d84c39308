"""What a training run is told."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from models.errors import TrainingError

PredictionType = Literal["epsilon", "v_prediction", "sample"]
Precision = Literal["float32", "bfloat16", "auto"]
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True)
class Network:
    """The shape of the UNet2DModel. Attention stands at the `attention` lowest resolutions."""

    channels: tuple[int, ...] = (32, 96, 160)
    layers: int = 1
    attention: tuple[bool, ...] = (False, False, True)
    head_dim: int | None = 32
    norm_groups: int = 8
    dropout: float = 0.0


@dataclass(frozen=True)
class Settings:
    """One training run. Exactly one of `steps` and `minutes` is given: it is the budget."""

    steps: int | None = None
    minutes: float | None = None
    network: Network = field(default_factory=Network)
    prediction_type: PredictionType = "epsilon"
    init: str | None = None  # a model folder whose weights are the first ones
    batch: int = 16
    learning_rate: float = 6e-4
    warmup_steps: int = 500
    constant_rate: bool = False
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.9995
    label_dropout: float = 0.1
    min_snr_gamma: float | None = None
    pair_noise: bool = False
    flip: tuple[str, ...] = ()
    seed: int = 0
    precision: Precision = "float32"  # auto: bfloat16 on a GPU, float32 elsewhere
    compile: bool | None = None  # None: on a GPU
    checkpoint_every_s: float = 180.0
    guidance_scale: float = 1.5
    half_weights: bool = False
    samples_a_class: int = 12  # drawn at the end; a third of them at each checkpoint
    license: str = "apache-2.0"  # as model hubs name it
    notice: str = ""  # what the card says of the right to use the model

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise TrainingError("give the budget once: either --minutes or --steps")
        if (self.steps or self.minutes or 0) <= 0:
            raise TrainingError("the budget is more than zero: give --minutes 60 or --steps 10000, for example")
        if self.samples_a_class < 1:
            raise TrainingError(f"at least one sample of each class is drawn, not {self.samples_a_class}")
        if self.batch < 1:
            raise TrainingError(f"a batch has at least one picture, not {self.batch}")
        if self.prediction_type not in PREDICTION_TYPES:
            raise TrainingError(f"no prediction type {self.prediction_type!r}; choose one of {PREDICTION_TYPES}")
        if self.precision not in PRECISIONS:
            raise TrainingError(f"no precision {self.precision!r}; choose one of {PRECISIONS}")

    def flips(self, class_names: tuple[str, ...]) -> list[bool]:
        """Whether each class is mirrored at random; one entry where there are no classes. Raises TrainingError
        for a name in `flip` that is neither a class nor "all"."""
        unknown = [name for name in self.flip if name != "all" and name not in class_names]
        if unknown:
            raise TrainingError(
                f"--flip names no class: {', '.join(unknown)}; use all, or of {', '.join(class_names)}"
            )
        return ["all" in self.flip or name in self.flip for name in class_names or ("",)]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        network: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["network"].items()}
        return cls(**{**data, "network": Network(**network), "flip": tuple(data["flip"])})

    def check_resume(self, saved: "Settings") -> None:
        """Raise TrainingError if a run with `saved` settings cannot go on with these ones."""
        free = {
            "steps",
            "minutes",
            "checkpoint_every_s",
            "compile",
            "guidance_scale",
            "half_weights",
            "samples_a_class",
            "license",
            "notice",
        }
        changed = [
            f"{f.name} {getattr(saved, f.name)} -> {getattr(self, f.name)}"
            for f in fields(self)
            if f.name not in free and getattr(saved, f.name) != getattr(self, f.name)
        ]
        if changed:
            raise TrainingError(
                f"the checkpoint was made with other settings ({'; '.join(changed)}); "
                "use the same ones to go on, or another --out to start anew"
            )


CIFAR10_NOTICE = (
    "For research and teaching. It was trained on a JPEG re-encoding of CIFAR-10 (Krizhevsky 2009, "
    '"Learning Multiple Layers of Features from Tiny Images"), photographs collected from the web, for which no '
    "licence is stated. Whoever made them may hold rights in them."
)

PRESETS: dict[str, Settings] = {
    "tiny": Settings(
        steps=20,
        network=Network(channels=(8, 16), attention=(False, False), head_dim=8, norm_groups=4),
        batch=8,
        warmup_steps=5,
        learning_rate=2e-3,
        ema_decay=0.9,
        samples_a_class=1,
    ),
    "small": Settings(minutes=110, half_weights=True),
    # A third of the paper's network, for a quarter of an hour of one GPU.
    "cifar10": Settings(
        minutes=14,
        network=Network(
            channels=(96, 160, 192),
            layers=2,
            attention=(False, False, True),
            head_dim=32,
            norm_groups=32,
        ),
        prediction_type="v_prediction",
        batch=256,
        learning_rate=6e-4,
        warmup_steps=500,
        ema_decay=0.9995,
        flip=("all",),
        precision="auto",
        guidance_scale=1.0,
        half_weights=True,
        license="other",
        notice=CIFAR10_NOTICE,
    ),
    # Small pictures with sharp edges, 64 × 64: emoji, drawn cats.
    "icons": Settings(
        minutes=14,
        network=Network(
            channels=(64, 96, 160, 192),
            layers=2,
            attention=(False, False, False, True),
            head_dim=32,
            norm_groups=32,
        ),
        prediction_type="v_prediction",
        batch=128,
        ema_decay=0.9995,
        precision="auto",
        guidance_scale=1.0,
        half_weights=True,
    ),
    # The CIFAR-10 network and rates of Ho et al. 2020, appendix B.
    "paper": Settings(
        steps=800_000,
        network=Network(
            channels=(128, 256, 256, 256),
            layers=2,
            attention=(False, True, False, False),
            head_dim=None,
            norm_groups=32,
            dropout=0.1,
        ),
        batch=128,
        learning_rate=2e-4,
        warmup_steps=5000,
        constant_rate=True,
        weight_decay=0.0,
        ema_decay=0.9999,
    ),
}

SIZES: dict[str, int] = {"icons": 64}
"""Height and width that a preset is meant for, where it is not 32."""


def preset(name: str, **changes: Any) -> Settings:
    """The settings of a preset with some changed; a budget in `changes` takes the place of the preset's."""
    if name not in PRESETS:
        raise TrainingError(f"no preset {name!r}; choose one of {', '.join(PRESETS)}")
    if changes.get("steps") is not None and changes.get("minutes") is None:
        changes["minutes"] = None
    elif changes.get("minutes") is not None and changes.get("steps") is None:
        changes["steps"] = None
    return replace(PRESETS[name], **changes)


def network_of(name: str) -> Network:
    """The network of a preset."""
    return preset(name).network
