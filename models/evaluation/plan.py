"""Which samplers, steps and guidance are measured, on how many pictures, and what that costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.errors import EvaluationError, InvalidSampling
from models.folder import Description
from models.noise_schedule import VarianceType
from models.samplers import SAMPLERS, compile_table

# Measured where nothing else is asked for. The last ones cost too much to ask twice, so guidance goes without.
STEPS: dict[str, tuple[int, ...]] = {
    "ddim": (1, 5, 10, 20, 50, 200),
    "ddpm": (5, 20, 50, 200, 1000),
    "dpmpp_2m": (5, 10, 20),
    "unipc": (5, 10, 20),
    "heun": (5, 10),
}
MOST_GUIDED_STEPS = 200
FEWEST_IMAGES = 8  # half of them still have more than the three neighbours that precision and recall need
IMAGES = 512


@dataclass(frozen=True)
class Wish:
    """What was asked for; None means the choice of this module.

    `images` is the most for one setting. `minutes` bounds the generation of all of them together. `ddim_paper` adds
    the settings of that paper's table.
    """

    samplers: tuple[str, ...] | None = None
    steps: tuple[int, ...] | None = None
    guidance: tuple[float, ...] | None = None
    images: int = IMAGES
    minutes: float | None = None
    ddim_paper: bool = False

    def __post_init__(self) -> None:
        if self.images < FEWEST_IMAGES:
            raise EvaluationError(f"at least {FEWEST_IMAGES} images a setting are needed, not {self.images}")
        if self.minutes is not None and self.minutes <= 0:
            raise EvaluationError("the budget is more than zero minutes: --minutes 30, for example")


@dataclass(frozen=True)
class Setting:
    """One row of the result. `evaluations` are those of one image; guidance doubles what each one costs. `variance`
    None is the model's own."""

    sampler: str
    steps: int
    guidance_scale: float
    evaluations: int
    eta: float = 0.0
    variance: VarianceType | None = None

    @property
    def passes(self) -> int:
        """How often one image goes through the network, with its twin without a class."""
        return self.evaluations * (1 if self.guidance_scale == 1 else 2)

    @property
    def key(self) -> str:
        plain = f"{self.sampler} {self.steps} {self.guidance_scale:g}"
        return plain + (f" eta {self.eta:g}" if self.eta else "") + (f" {self.variance}" if self.variance else "")


@dataclass(frozen=True)
class Planned:
    """A setting and the number of images it is measured on."""

    setting: Setting
    images: int

    @property
    def passes(self) -> int:
        return self.setting.passes * self.images


def default_setting(model: Description) -> Setting:
    """What the service does for a request that names no sampler, steps and guidance."""
    return _setting(model, model.default_sampler, model.default_steps, model.default_guidance_scale)


def settings_for(model: Description, wish: Wish) -> list[Setting]:
    """The model's default first, then the others from cheap to dear; each once.

    Raises:
        InvalidSampling: an unknown sampler, or steps it cannot take.
        EvaluationError: guidance for a model without a null class.
    """
    default = default_setting(model)
    scales = wish.guidance or (1.0, model.default_guidance_scale)
    if model.null_class is None and any(scale != 1 for scale in scales):
        raise EvaluationError(f"{model.id} has no null class, so it takes no guidance; leave --guidance out")
    chosen = {default.key: default}
    for sampler in wish.samplers or tuple(SAMPLERS):
        for steps in _steps(model, sampler, wish):
            for scale in scales:
                if wish.steps is None and scale != 1 and steps > MOST_GUIDED_STEPS:
                    continue
                setting = _setting(model, sampler, steps, scale)
                chosen.setdefault(setting.key, setting)
    return [default, *sorted((s for s in chosen.values() if s != default), key=lambda s: s.passes)]


def plan(settings: Sequence[Setting], images: int, classes: int = 1) -> list[Planned]:
    """Every setting on `images` pictures, save those dearer than the first one, the model's default.

    Numbers are rounded down to whole rounds of the classes where there is one: classes that are drawn more often
    than others weigh in the Fréchet distance.
    A dearer one gets as many images as the price of the default buys, yet not fewer than FEWEST_IMAGES.
    """
    price = settings[0].passes * images
    some = [min(images, max(price // s.passes, FEWEST_IMAGES)) for s in settings]
    even = [count - count % classes if count - count % classes >= FEWEST_IMAGES else count for count in some]
    return [Planned(setting, count) for setting, count in zip(settings, even, strict=True)]


def images_within(
    settings: Sequence[Setting], most: int, passes: float, also: Callable[[int], list[Planned]] = lambda images: []
) -> int:
    """The largest number of images up to `most` whose plan, and what `also` adds to it, takes at most `passes`;
    FEWEST_IMAGES at least."""
    low, high = FEWEST_IMAGES, most
    while low < high:
        middle = (low + high + 1) // 2
        if sum(p.passes for p in [*plan(settings, middle), *also(middle)]) <= passes:
            low = middle
        else:
            high = middle - 1
    return low


def _steps(model: Description, sampler: str, wish: Wish) -> tuple[int, ...]:
    if sampler not in SAMPLERS:
        raise InvalidSampling("sampler", f"unknown sampler {sampler!r}; use one of {', '.join(SAMPLERS)}")
    if wish.steps is not None:
        return wish.steps
    return tuple(steps for steps in STEPS[sampler] if steps <= model.schedule.num_train_timesteps)


def _setting(model: Description, sampler: str, steps: int, scale: float) -> Setting:
    return Setting(sampler, steps, float(scale), compile_table(model.schedule, sampler, steps).evaluations)
