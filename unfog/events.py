"""What happens to a job, as it is told while it happens."""

import base64
import binascii
import json
from dataclasses import dataclass

from unfog.answers import Job, Progress
from unfog.errors import UnexpectedAnswer
from unfog.reading import read
from unfog.sse import Message


@dataclass(frozen=True)
class Snapshot:
    """The job as it is; the first event of each connection."""

    job: Job


@dataclass(frozen=True)
class Progressed:
    """The job has come further, or its place in the queue has changed."""

    progress: Progress


@dataclass(frozen=True)
class Preview:
    """Image `index` as it would be if the rest of the fog lifted at once. png: at the model's own size."""

    index: int
    completed: int
    png: bytes


@dataclass(frozen=True)
class Done:
    """The job has ended; nothing follows."""

    job: Job


Event = Snapshot | Progressed | Preview | Done


def event_of(message: Message) -> Event | None:
    """The event that a message tells, None for one that is not known here. Raises `UnexpectedAnswer`."""
    if message.event not in ("snapshot", "progress", "preview", "done"):
        return None
    try:
        data = json.loads(message.data)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"the event {message.event!r} is not JSON: {error}") from None
    match message.event:
        case "snapshot":
            return Snapshot(read(Job, data))
        case "done":
            return Done(read(Job, data))
        case "progress":
            return Progressed(read(Progress, data))
    picture = read(_Picture, data)
    return Preview(picture.index, picture.completed, _bytes_of(picture.image))


@dataclass(frozen=True)
class _Picture:
    index: int
    completed: int
    image: str


def _bytes_of(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    try:
        if head != "data:image/png;base64":
            raise ValueError(f"it begins with {head[:40]!r}")
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise UnexpectedAnswer(f"the event 'preview' has no PNG as data URI: {error}") from None
