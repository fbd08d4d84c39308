"""Every setting of the service, read from the environment with the prefix `UNFOG_`."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.connection import parse_url

from jobs.redis_url import is_sentinel_url, parsed_sentinel_url

IN_REDIS = "redis"
"""The store of results that is the Redis of the jobs."""

CHECKOUT = Path(__file__).resolve().parent.parent
BUNDLED_MODEL = CHECKOUT / "models" / "bundled" / "cats-32"


_PLACE = re.compile(r"folder:/[^,]*[^,/]|s3://[a-z0-9][a-z0-9.-]*(/[\w.-]+)*")


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
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis, by redis://, rediss://, unix:// or redis+sentinel://; see below.",
    )
    result_store: str = Field(
        IN_REDIS, description="Where pictures are kept: `redis`, `folder:/PATH` or `s3://BUCKET/PREFIX`."
    )
    old_result_stores: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Where they were kept before, separated by commas; still read and swept."
    )
    state_dir: Path = Field(
        CHECKOUT / ".unfog",
        description="Where `unfog serve` keeps the data of its own Redis, and workers what they have compiled.",
    )
    host: str = Field("127.0.0.1", description="The address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="The port the API listens on.")
    allow_anonymous: bool = Field(
        False, description="Whether callers without a key are let in, also beyond loopback and beside keys."
    )
    public_url: str = Field("", description="Prefix of the URLs in answers; empty gives root-relative URLs.")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (str(BUNDLED_MODEL),),
        description="Model folders, or names on the Hugging Face Hub, separated by commas; first is the default.",
    )

    # What a caller may ask for
    max_body_bytes: int = Field(8_388_608, ge=1024, description="The largest request body that is read.")
    max_job_evaluations: int = Field(
        16_000, ge=1, description="The most evaluations (images × steps × places) that one job may cost."
    )
    max_queued_evaluations: int = Field(
        1_000_000, ge=1, description="The most evaluations that may wait; beyond that a job gets 429."
    )
    max_caller_queued_evaluations: int = Field(
        1_000_000, ge=1, description="The most evaluations of one caller that may wait; beyond that 429."
    )
    rate_limit: str = Field(
        "", description="Submits a caller may make, as `120/minute`; empty for any number. Beyond that 429."
    )
    max_listeners: int = Field(1000, ge=1, description="Event streams one API process holds open; beyond that 503.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call the API from a browser, separated by commas; `*` for any."
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
    compile: Literal["auto", "openvino", "on", "off"] = Field(
        "auto",
        description="`auto`: on a CPU the weights are laid out. `openvino`: a CPU runs the network by OpenVINO. "
        "`on`: torch compiles the network. `off`: none of that.",
    )
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="How the network's tensors lie; `auto` is channels_last for 16 bits on CUDA."
    )
    max_batch_places: int = Field(16, ge=1, le=512, description="The most places in one forward pass.")
    pool_rows: int = Field(64, ge=1, le=4096, description="Rows that may be under way or parked per model.")
    torch_threads: int = Field(0, ge=0, description="CPU threads of a forward pass; 0 is one per core.")

    # How a worker holds its jobs
    heartbeat_ttl_s: int = Field(6, ge=2, description="A worker silent for so long has lost its jobs.")
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
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="What each caller's signing secret is derived from; empty refuses webhooks."
    )
    webhook_allow_private: bool = Field(
        False, description="Whether webhooks may go to plain http and to private, loopback or link-local addresses."
    )
    webhook_retries_s: Annotated[tuple[float, ...], NoDecode] = Field(
        (5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0),
        description="Seconds before each further try of a webhook, separated by commas; then it is given up.",
    )
    url_secret: SecretStr = Field(
        SecretStr(""),
        description="Signs the URLs of pictures and events, for pages that cannot send a key; empty for none.",
    )
    signed_url_s: int = Field(3600, ge=1, description="Seconds that a signed URL is good for.")
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Where a worker answers `/metrics`, on `UNFOG_WORKER_METRICS_HOST`; 0 for nowhere.",
    )
    worker_metrics_host: str = Field("127.0.0.1", description="The address a worker's `/metrics` listens on.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`json`: an object a line. `text`: for people. `auto`: text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        try:
            parsed_sentinel_url(url) if is_sentinel_url(url) else parse_url(url)
        except ValueError:
            # Not redis-py's own words: they may quote a piece of a password.
            raise ValueError(
                "it must look like redis://HOST:PORT/0, rediss://HOST:PORT/0, unix:///PATH or "
                "redis+sentinel://HOST:PORT,HOST:PORT/MASTER/0"
            ) from None
        return value

    @field_validator("result_store")
    @classmethod
    def _a_place(cls, value: str) -> str:
        if value != IN_REDIS and not _PLACE.fullmatch(value):
            raise ValueError("it must be redis, folder:/PATH or s3://BUCKET/PREFIX, without a slash at its end")
        return value

    @field_validator("old_result_stores")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(cls._a_place, value))

    @field_validator("cors_origins", "old_result_stores", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_secret", "url_secret")
    @classmethod
    def _hard_to_guess(cls, value: SecretStr) -> SecretStr:
        # Each caller knows a hash made with it, and may try all short ones.
        if 0 < len(value.get_secret_value()) < 32:
            raise ValueError("it must have at least 32 characters; `openssl rand -hex 32` makes one")
        return value

    @field_validator("webhook_retries_s", mode="before")
    @classmethod
    def _delays(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_retries_s")
    @classmethod
    def _within_a_week(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < delay <= 604_800 for delay in value):
            raise ValueError("each delay must be above 0 and at most 604800 seconds")
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _split_on_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("models")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
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
    if variable.endswith("_SECRET"):
        return f"{variable} cannot be used: {reason}."
    return f"{variable} is {os.environ.get(variable, fault['input'])!r}: {reason}."
