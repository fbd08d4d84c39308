"""The client for programs that wait; it may be shared by threads."""

import contextlib
import time
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from unfog.answers import Cost, Job, Model, Sampler, Stats
from unfog.effects import Answer, Effect, Flow, Give, Read, Send, Sleep, Tell, advance
from unfog.events import Event
from unfog.flows import Flows, job_path, segment
from unfog.following import OnPreview, OnProgress, Waiting, events, generate, pictures, wait
from unfog.generated import Generated
from unfog.place import ApiKey, failure_of, request_of, service_url, user_agent
from unfog.repeating import Policy
from unfog.request import Fields

T = TypeVar("T")


class Client:
    """A service, as functions. Close it, or use it in a `with` statement."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 4,
        retry_limit_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Nothing is sent yet.

        base_url: else UNFOG_URL, else http://127.0.0.1:8000. api_key: else UNFOG_API_KEY, else none. timeout_s: how
        long the service may be silent. retries: how often a call is repeated that found nobody, a full queue (429)
        or no answer for now (502, 503, 504). retry_limit_s: how long the pauses between may be, in all.
        transport: what carries the requests in place of the network. Raises `WrongArgument`.
        """
        self._url = service_url(base_url)
        self._flows = Flows(Policy(retries, retry_limit_s))
        self._http = httpx.Client(
            base_url=self._url,
            auth=ApiKey(api_key),
            timeout=timeout_s,
            headers={"User-Agent": user_agent()},
            transport=transport,
        )

    def generate(
        self,
        *,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Generated:
        """Submit a job, wait for its end and fetch its pictures.

        timeout_s, on_progress, on_preview: as for `wait`. idempotency_key: as for `submit`. Raises `JobFailed`,
        `JobCanceled` and `WaitTimeout` besides what each call may.
        """
        waiting = Waiting(timeout_s, on_progress, on_preview)
        return self._run(generate(self._flows, fields, idempotency_key, waiting))

    def submit(self, *, idempotency_key: str | None = None, **fields: Unpack[Fields]) -> Job:
        """Submit a job and do not wait.

        idempotency_key: within 24 hours the same key and fields are the same job; drawn if left out, so that a call
        that is repeated after an error of the network is one job.
        """
        return self._run(self._flows.submit(fields, idempotency_key))

    def dry_run(self, **fields: Unpack[Fields]) -> Cost:
        """What a job would cost, without one."""
        return self._run(self._flows.dry_run(fields))

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._run(self._flows.get(Job, job_path(job_id)))

    def wait(
        self,
        job: Job | str,
        *,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
    ) -> Job:
        """The job when it has succeeded. Raises `JobFailed`, `JobCanceled` and `WaitTimeout`.

        timeout_s: looked at whenever the service says something, so it may be exceeded by 15 s. on_progress is
        called with `Progress` whenever that changes; on_preview with `Preview`, if the job has preview=True.
        """
        return self._run(wait(self._flows, job, Waiting(timeout_s, on_progress, on_preview)))

    def events(self, job: Job | str) -> Iterator[Event]:
        """What happens to a job: a `Snapshot` first and on each new connection, `Done` at last."""
        return self._iterate(events(self._flows, job))

    def pictures(self, job: Job | str, *, timeout_s: float | None = None) -> Generated:
        """The pictures of a job, after its end. Raises `JobFailed`, `JobCanceled` and `WaitTimeout`."""
        return self._run(pictures(self._flows, job, Waiting(timeout_s)))

    def image(self, job: Job | str, index: int = 0) -> bytes:
        """One picture of a job, a PNG."""
        return self._run(self._flows.content(f"{job_path(job)}/images/{index}.png"))

    def animation(self, job: Job | str) -> bytes:
        """The denoising of a job that was submitted with animation=True, an animated PNG."""
        return self._run(self._flows.content(f"{job_path(job)}/animation"))

    def cancel(self, job: Job | str) -> Job:
        """Stop a job at its next step; one that has ended stays as it is."""
        return self._run(self._flows.cancel(job))

    def delete(self, job: Job | str) -> Job | None:
        """Cancel a job that has not ended, and get it; erase one that has, and get None."""
        return self._run(self._flows.delete(job))

    def jobs(self, *, status: str | None = None, page_size: int | None = None) -> Iterator[Job]:
        """The caller's jobs, newest first; asked for page by page as they are taken."""
        return self._iterate(self._flows.jobs(status, page_size))

    def models(self) -> list[Model]:
        """The models that are served, the default one first."""
        return self._run(self._flows.listed(Model, "/v1/models"))

    def model(self, model_id: str) -> Model:
        """One model."""
        return self._run(self._flows.get(Model, f"/v1/models/{segment(model_id)}"))

    def samplers(self) -> list[Sampler]:
        """The samplers and what they take."""
        return self._run(self._flows.listed(Sampler, "/v1/samplers"))

    def stats(self) -> Stats:
        """How busy the service is."""
        return self._run(self._flows.get(Stats, "/v1/stats"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def _run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        with contextlib.closing(_Drive(self._http, self._url)) as drive:
            outcome: object = None
            while True:
                try:
                    effect = advance(flow, outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = drive.perform(effect)

    def _iterate(self, flow: Flow[None]) -> Generator[Any, None, None]:
        """Drive a flow for what it gives."""
        with contextlib.closing(_Drive(self._http, self._url)) as drive:
            outcome: object = None
            while True:
                try:
                    effect = advance(flow, outcome)
                except StopIteration:
                    return
                outcome = None
                if isinstance(effect, Give):
                    yield effect.value
                else:
                    outcome = drive.perform(effect)


class _Drive:
    """One flow on its way, with the one stream that it may have open."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url
        self._stream: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def close(self) -> None:
        """Close the stream, if one is open."""
        if self._stream is not None:
            self._stream.close()

    def perform(self, effect: Effect) -> object:
        """Do it; a `ConnectionFailed` is returned, for the flow."""
        match effect:
            case Sleep(seconds):
                time.sleep(seconds)
            case Tell(function, value):
                function(value)
            case Send() | Read():
                try:
                    return self._send(effect) if isinstance(effect, Send) else next(self._pieces, b"")
                except httpx.HTTPError as error:
                    return failure_of(error, self._url)
        return None

    def _send(self, effect: Send) -> Answer:
        response = self._http.send(request_of(self._http, effect), stream=True)
        if effect.stream and response.is_success:
            self.close()
            self._stream, self._pieces = response, response.iter_bytes()
            return Answer(response.status_code, response.headers, b"")
        with contextlib.closing(response):
            return Answer(response.status_code, response.headers, response.read())
