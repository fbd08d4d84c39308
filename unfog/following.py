"""A job from now to its end, over as many connections as that takes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from unfog.answers import Job, Progress
from unfog.effects import Flow, Give, Read, Send, Sleep, Tell
from unfog.errors import ConnectionFailed, JobCanceled, JobFailed, UnexpectedAnswer, WaitTimeout
from unfog.events import Done, Event, Preview, Progressed, event_of
from unfog.flows import NEVER, Deadline, Flows, job_path
from unfog.generated import Generated
from unfog.repeating import backoff_s
from unfog.request import Fields
from unfog.sse import SseParser

OnProgress = Callable[[Progress], object]
OnPreview = Callable[[Preview], object]

SILENCE_S = 45.0
"""A stream that is silent for longer is dead: the service sends a comment every 15 s."""


def follow(
    flows: Flows, job: Job | str, take: Callable[[Event], Flow[None]], deadline: Deadline = NEVER
) -> Flow[Job | None]:
    """Hand all that happens to `take`; the job when it has ended, None when the deadline has passed."""
    cuts = 0
    while True:
        request = Send(
            "GET",
            f"{job_path(job)}/events",
            headers={"Accept": "text/event-stream"},
            stream=True,
            read_s=max(0.1, deadline.within(SILENCE_S)),
        )
        yield from flows.call(request, deadline)
        parser, told = SseParser(), 0
        try:
            while not deadline.passed and (piece := (yield Read())):
                for event in _events(parser, piece):
                    told += 1
                    yield from take(event)
                    if isinstance(event, Done):
                        return event.job
        except ConnectionFailed:
            pass  # its reason matters only if the next connection fails too
        if deadline.passed:
            return None
        # A proxy that keeps the stream to itself must not keep the end from us.
        now = yield from flows.get(Job, job_path(job), deadline)
        if now.ended:
            yield from take(Done(now))
            return now
        cuts = 0 if told > 1 else cuts + 1
        yield Sleep(deadline.within(backoff_s(cuts)))


def _events(parser: SseParser, piece: bytes) -> list[Event]:
    found = map(event_of, parser.feed(piece))
    return [event for event in found if event is not None]


def events(flows: Flows, job: Job | str) -> Flow[None]:
    """Gives all that happens to a job."""

    def take(event: Event) -> Flow[None]:
        yield Give(event)

    yield from follow(flows, job, take)


@dataclass(frozen=True)
class Waiting:
    """How somebody waits: for how long, and what they want to be told meanwhile."""

    timeout_s: float | None = None
    on_progress: OnProgress | None = None
    on_preview: OnPreview | None = None


def wait(flows: Flows, job: Job | str, waiting: Waiting) -> Flow[Job]:
    """The job when it has succeeded. Raises `JobFailed`, `JobCanceled`, `WaitTimeout`."""
    seen: Progress | None = None

    def take(event: Event) -> Flow[None]:
        nonlocal seen
        if isinstance(event, Preview):
            if waiting.on_preview is not None:
                yield Tell(waiting.on_preview, event)
            return
        now = event.progress if isinstance(event, Progressed) else event.job.progress
        if waiting.on_progress is not None and now != seen:
            seen = now
            yield Tell(waiting.on_progress, now)

    last: Job | None
    if isinstance(job, Job) and job.ended:
        last = job
    else:
        last = yield from follow(flows, job, take, Deadline(waiting.timeout_s))
    if last is None:
        last = yield from flows.get(Job, job_path(job))
    if last.status == "failed":
        raise JobFailed(last)
    if last.status == "canceled":
        raise JobCanceled(last)
    if not last.ended:
        raise WaitTimeout(last, waiting.timeout_s or 0.0)
    return last


def pictures(flows: Flows, job: Job | str, waiting: Waiting) -> Flow[Generated]:
    """The pictures of a job when it has succeeded, and its animation if it was asked for."""
    done = yield from wait(flows, job, waiting)
    pngs = []
    for image in done.images:
        png = yield from flows.content(f"{job_path(done)}/images/{image.index}.png")
        if hashlib.sha256(png).hexdigest() != image.sha256:
            raise UnexpectedAnswer(f"picture {image.index} of job {done.id} did not arrive as it was sent")
        pngs.append(png)
    animation = None
    if done.request.get("animation"):
        animation = yield from flows.content(f"{job_path(done)}/animation")
    return Generated(done, tuple(pngs), animation)


def generate(flows: Flows, fields: Fields, key: str | None, waiting: Waiting) -> Flow[Generated]:
    """The pictures of a new job. Previews are asked for if somebody wants to be told."""
    if waiting.on_preview is not None and fields.get("preview") is None:
        fields = {**fields, "preview": True}
    job = yield from flows.submit(fields, key)
    return (yield from pictures(flows, job, waiting))
