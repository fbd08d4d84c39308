"""Every setting of the service, read from the environment with the prefix `UNFOG_`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLED_MODEL = CHECKOUT / "models" / "bundled" / "cats-32"


class Settings(BaseSettings):
    """The settings of the API and of the workers, one class for both.

    Raises `pydantic.ValidationError` when the environment holds a value out of range.
    """

    model_config = SettingsConfigDict(env_prefix="UNFOG_", frozen=True, extra="ignore")

    # Where things are
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis, as a redis://, rediss:// or unix:// URL."
    )
    state_dir: Path = Field(
        CHECKOUT / ".unfog",
        description="Where `unfog serve` keeps the data of the Redis it starts when no URL is set.",
    )
    host: str = Field("127.0.0.1", description="The address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="The port the API listens on.")
    allow_anonymous: bool = Field(
        False, description="Whether the API may listen beyond loopback although anybody may submit jobs."
    )
    public_url: str = Field("", description="Prefix of the URLs in answers; empty gives root-relative URLs.")
    models: Annotated[tuple[Path, ...], NoDecode] = Field(
        (BUNDLED_MODEL,),
        description="Model folders a worker serves, separated by commas; first is the default.",
    )

    # What a caller may ask for
    max_body_bytes: int = Field(1_048_576, ge=1024, description="The largest request body that is read.")
    max_job_evaluations: int = Field(
        16_000, ge=1, description="The most evaluations (images × steps × places) that one job may cost."
    )
    ready_needs_worker: bool = Field(False, description="Whether `/health/ready` fails while no worker is there.")

    # How a worker computes
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="The network's precision; `auto` is float16 on CUDA and float32 on a CPU."
    )
    batching: Literal["strict", "fast"] = Field(
        "strict",
        description="`strict`: same bytes in any company. `fast`: any batch size, pixels may differ.",
    )
    max_batch_places: int = Field(16, ge=1, le=512, description="The most places in one forward pass.")
    pool_rows: int = Field(64, ge=1, le=4096, description="Rows that may be under way or parked per model.")
    torch_threads: int = Field(0, ge=0, description="CPU threads of a forward pass; 0 is one per core.")

    # How a worker holds its jobs
    heartbeat_ttl_s: int = Field(10, ge=2, description="A worker silent for so long has lost its jobs.")
    drain_s: float = Field(20.0, ge=0, description="On SIGTERM, the time to finish before jobs are given back.")
    max_crashes: int = Field(3, ge=1, description="How often a job may see its worker die before it fails.")
    engine_start_s: float = Field(300.0, ge=1, description="The time an engine may take to load and check itself.")

    # How the processes talk
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")

    @field_validator("models", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("models")
    @classmethod
    def _at_least_one(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not value:
            raise ValueError("name at least one model folder")
        return value
