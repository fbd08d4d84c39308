"""Diffusion models as a job service: the client.

from unfog import Client

with Client() as client:
    client.generate(sampler="ddim", steps=50, seed=7, scale=8).save("out")
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unfog.answers import Cost, Image, Job, JobError, Model, ModelLoad, Progress, Sampler, Stats
    from unfog.async_client import AsyncClient
    from unfog.client import Client
    from unfog.errors import (
        ConnectionFailed,
        FieldError,
        Forbidden,
        Gone,
        JobCanceled,
        JobEnded,
        JobFailed,
        NotFound,
        Problem,
        QueueFull,
        RequestRefused,
        ServiceFault,
        ServiceUnavailable,
        Unauthorized,
        UnexpectedAnswer,
        UnfogError,
        WaitTimeout,
        WrongArgument,
    )
    from unfog.events import Done, Event, Preview, Progressed, Snapshot
    from unfog.generated import Generated

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "Cost",
    "Done",
    "Event",
    "FieldError",
    "Forbidden",
    "Generated",
    "Gone",
    "Image",
    "Job",
    "JobCanceled",
    "JobEnded",
    "JobError",
    "JobFailed",
    "Model",
    "ModelLoad",
    "NotFound",
    "Preview",
    "Problem",
    "Progress",
    "Progressed",
    "QueueFull",
    "RequestRefused",
    "Sampler",
    "ServiceFault",
    "ServiceUnavailable",
    "Snapshot",
    "Stats",
    "Unauthorized",
    "UnexpectedAnswer",
    "UnfogError",
    "WaitTimeout",
    "WrongArgument",
]

_HOMES = ("errors", "answers", "events", "generated", "client", "async_client")


def __getattr__(name: str) -> object:
    """What is named above, imported when it is asked for: `unfog --help` needs no HTTP."""
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"unfog.{home}")
            if hasattr(module, name):
                value: object = getattr(module, name)
                return value
    raise AttributeError(f"module 'unfog' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
