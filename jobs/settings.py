"""Every setting of the service, read from the environment with the prefix `UNFOG_`."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.connection import parse_url

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLED_MODEL = CHECKOUT / "models" / "bundled" / "cats-32"


class SettingsError(Exception):
    """The environment holds values that cannot be used. The message names each variable, a line each."""


class Settings(BaseSettings):
    """The settings of the API and of the workers, one class for both.

    Raises `pydantic.ValidationError` when the environment holds a value out of range; `load_settings` says it
    in words.
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
    max_queued_evaluations: int = Field(
        1_000_000, ge=1, description="The most evaluations that may wait; beyond that a job gets 429."
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
    engine_start_s: float = Field(300.0, ge=1, description="The time an engine may take to load and check itself.")

    engine_hang_s: float = Field(
        60.0, ge=1, description="An engine with work that says nothing for so long is killed and started again."
    )
    deadline_s: float = Field(
        60.0, gt=0, description="The computing time that every job may take, parked time not counted."
    )
    deadline_per_evaluation_s: float = Field(
        1.0, gt=0, description="What each evaluation of a job adds to its deadline."
    )

    # How the processes talk
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: SecretStr) -> SecretStr:
        try:
            parse_url(value.get_secret_value())
        except ValueError:
            # Not redis-py's own words: they may quote a piece of a password.
            raise ValueError(
                "it must look like redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix:///PATH"
            ) from None
        return value

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


def load_settings() -> Settings:
    """The settings in the environment. Raises `SettingsError`; no message holds the password of a URL."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(fault) for fault in error.errors())) from None


def _sentence(fault: ErrorDetails) -> str:
    variable = f"UNFOG_{fault['loc'][0]}".upper()
    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if variable == "UNFOG_REDIS_URL":
        return f"{variable} is no URL of a Redis: {reason}."
    return f"{variable} is {os.environ.get(variable, fault['input'])!r}: {reason}."
