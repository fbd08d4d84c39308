"""What a job is: one request with every choice made, so that it means the same picture for ever."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1
"""A CPU generator keeps 32 bits of a seed: 7 and 7 + 2³² would be the same noise."""

TimestepSpacing = Literal["leading", "trailing", "linspace", "quadratic"]
Priority = Literal["normal", "low"]
ANONYMOUS = "anonymous"
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class JobSpec(BaseModel):
    """One job as it stands in the queue: n images, one model, one sampler, one step count, one seed.

    Image k starts from the seed (seed + k) mod 2³² and shows `class_labels[k]`.
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
    caller: str = ANONYMOUS
    metadata: dict[str, str]

    def image_seed(self, index: int) -> int:
        """The seed of image `index`."""
        return (self.seed + index) % (MAX_SEED + 1)

    @property
    def places(self) -> int:
        """Places in a forward pass that one image takes: two when it is guided."""
        return 2 if self.guidance_scale != 1.0 else 1
