"""What a job is: one request with every choice made, so that it means the same picture for ever."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_SEED = 2**32 - 1
"""A CPU generator keeps 32 bits of a seed: 7 and 7 + 2³² would be the same noise."""

TimestepSpacing = Literal["leading", "trailing", "linspace", "quadratic"]
Priority = Literal["normal", "low"]
ANONYMOUS = "anonymous"
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class JobSpec(BaseModel):
    """One job as it stands in the queue: n images, one model, one sampler, one step count, one seed.

    Image k starts from the seed (seed + k) mod 2³² and shows `class_labels[k]`.

    Releases run side by side, so this class only ever grows, by fields with a default, and the meaning of a field
    never changes. `written` leaves out what has its default: a job that asks for nothing new can be read by a
    release that does not know the new field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    model_fingerprint: str
    sampler: str
    steps: int = Field(ge=1)
    num_images: int = Field(ge=1, le=16)
    seed: Seed
    class_labels: tuple[int, ...] | None = Field(description="One index per image; null without classes.")
    class_names: tuple[str, ...] | None = Field(description="The name of each image's class.")
    guidance_scale: float
    eta: float = Field(ge=0, le=1)
    timestep_spacing: TimestepSpacing
    scale: int = Field(ge=1, le=16)
    ttl_s: int = Field(ge=1)
    priority: Priority = "normal"
    init_image: str | None = None
    """A data URI of a PNG of the model's own size; the picture that image-to-image starts from."""
    strength: float | None = Field(None, ge=0, le=1)
    """How much of the steps is walked from `init_image`; set exactly when that is."""
    seed_to: Seed | None = None
    seed_mix: float | None = Field(None, ge=0, le=1)
    """How far from the static of `seed` to that of `seed_to` each image starts; set exactly when that is."""
    animation: bool = False
    preview: bool = False
    cancel_on_disconnect: bool = False
    webhook_url: str | None = None
    caller: str = ANONYMOUS
    request_id: str | None = None
    """The HTTP request that submitted the job; only for logs."""
    metadata: dict[str, str]

    @model_validator(mode="after")
    def _a_label_for_each_image(self) -> "JobSpec":
        for labels in (self.class_labels, self.class_names):
            if labels is not None and len(labels) != self.num_images:
                raise ValueError(f"{len(labels)} labels for {self.num_images} images")
        return self

    def written(self) -> str:
        """The spec as JSON, without what has its default."""
        return self.model_dump_json(exclude_defaults=True)

    def image_seed(self, index: int) -> int:
        """The seed of image `index`."""
        return (self.seed + index) % (MAX_SEED + 1)

    def image_seed_to(self, index: int) -> int | None:
        """The seed that image `index` is mixed with, or None."""
        return None if self.seed_to is None else (self.seed_to + index) % (MAX_SEED + 1)

    @property
    def walked_steps(self) -> int:
        """The denoising steps that are taken: all of them, or the last `strength` of them from a picture."""
        return self.steps if self.strength is None else min(int(self.steps * self.strength), self.steps)

    @property
    def places(self) -> int:
        """Places in a forward pass that one image takes: two when it is guided."""
        return 2 if self.guidance_scale != 1.0 else 1
