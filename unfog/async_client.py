"""The client for programs with asyncio; every call is described at `unfog.client.Client`."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
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


class AsyncClient:
    """A service, as coroutine functions. Close it, or use it in an `async with` statement."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 4,
        retry_limit_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """As `Client`."""
        self._url = service_url(base_url)
        self._flows = Flows(Policy(retries, retry_limit_s))
        self._http = httpx.AsyncClient(
            base_url=self._url,
            auth=ApiKey(api_key),
            timeout=timeout_s,
            headers={"User-Agent": user_agent()},
            transport=transport,
        )

    async def generate(
        self,
        *,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
        idempotency_key: str | None = None,
        **fields: Unpack[Fields],
    ) -> Generated:
        """As `Client.generate`; the callbacks may be coroutine functions."""
        waiting = Waiting(timeout_s, on_progress, on_preview)
        return await self._run(generate(self._flows, fields, idempotency_key, waiting))

    async def submit(self, *, idempotency_key: str | None = None, **fields: Unpack[Fields]) -> Job:
        """As `Client.submit`."""
        return await self._run(self._flows.submit(fields, idempotency_key))

    async def dry_run(self, **fields: Unpack[Fields]) -> Cost:
        """As `Client.dry_run`."""
        return await self._run(self._flows.dry_run(fields))

    async def job(self, job_id: str) -> Job:
        """As `Client.job`."""
        return await self._run(self._flows.get(Job, job_path(job_id)))

    async def wait(
        self,
        job: Job | str,
        *,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
    ) -> Job:
        """As `Client.wait`; the callbacks may be coroutine functions."""
        return await self._run(wait(self._flows, job, Waiting(timeout_s, on_progress, on_preview)))

    def events(self, job: Job | str) -> AsyncIterator[Event]:
        """As `Client.events`, for `async for`."""
        return self._iterate(events(self._flows, job))

    async def pictures(self, job: Job | str, *, timeout_s: float | None = None) -> Generated:
        """As `Client.pictures`."""
        return await self._run(pictures(self._flows, job, Waiting(timeout_s)))

    async def image(self, job: Job | str, index: int = 0) -> bytes:
        """As `Client.image`."""
        return await self._run(self._flows.content(f"{job_path(job)}/images/{index}.png"))

    async def animation(self, job: Job | str) -> bytes:
        """As `Client.animation`."""
        return await self._run(self._flows.content(f"{job_path(job)}/animation"))

    async def cancel(self, job: Job | str) -> Job:
        """As `Client.cancel`."""
        return await self._run(self._flows.cancel(job))

    async def delete(self, job: Job | str) -> Job | None:
        """As `Client.delete`."""
        return await self._run(self._flows.delete(job))

    def jobs(self, *, status: str | None = None, page_size: int | None = None) -> AsyncIterator[Job]:
        """As `Client.jobs`, for `async for`."""
        return self._iterate(self._flows.jobs(status, page_size))

    async def models(self) -> list[Model]:
        """As `Client.models`."""
        return await self._run(self._flows.listed(Model, "/v1/models"))

    async def model(self, model_id: str) -> Model:
        """As `Client.model`."""
        return await self._run(self._flows.get(Model, f"/v1/models/{segment(model_id)}"))

    async def samplers(self) -> list[Sampler]:
        """As `Client.samplers`."""
        return await self._run(self._flows.listed(Sampler, "/v1/samplers"))

    async def stats(self) -> Stats:
        """As `Client.stats`."""
        return await self._run(self._flows.get(Stats, "/v1/stats"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._url!r})"

    async def _run(self, flow: Flow[T]) -> T:
        """Drive a flow to its result."""
        async with contextlib.aclosing(_Drive(self._http, self._url)) as drive:
            outcome: object = None
            while True:
                try:
                    effect = advance(flow, outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = await drive.perform(effect)

    async def _iterate(self, flow: Flow[None]) -> AsyncIterator[Any]:
        """Drive a flow for what it gives."""
        async with contextlib.aclosing(_Drive(self._http, self._url)) as drive:
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
                    outcome = await drive.perform(effect)


class _Drive:
    """One flow on its way, with the one stream that it may have open."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url
        self._stream: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def aclose(self) -> None:
        """Close the stream, if one is open."""
        if self._stream is not None:
            await self._stream.aclose()

    async def perform(self, effect: Effect) -> object:
        """Do it; a `ConnectionFailed` is returned, for the flow."""
        match effect:
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Tell(function, value):
                told = function(value)
                if inspect.isawaitable(told):
                    await told
            case Send() | Read():
                try:
                    return await (self._send(effect) if isinstance(effect, Send) else self._read())
                except httpx.HTTPError as error:
                    return failure_of(error, self._url)
        return None

    async def _read(self) -> bytes:
        assert self._pieces is not None
        return await anext(self._pieces, b"")

    async def _send(self, effect: Send) -> Answer:
        response = await self._http.send(request_of(self._http, effect), stream=True)
        if effect.stream and response.is_success:
            await self.aclose()
            self._stream, self._pieces = response, response.aiter_bytes()
            return Answer(response.status_code, response.headers, b"")
        async with contextlib.aclosing(response):
            return Answer(response.status_code, response.headers, await response.aread())
