"""What happens to one job, told to one listener: how it is, how far it gets, how it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from fastapi.sse import ServerSentEvent

from app.dependencies import Services
from app.race import Race
from app.schemas import JobView, PreviewEvent, ProgressEvent, fraction, view_of
from jobs.connection import REDIS_DOWN
from jobs.errors import JobGone, JobNotFound
from jobs.estimate import NOTHING
from jobs.record import JobRecord, Status
from jobs.watch import News, Preview, Progress

RECONNECT_MS = 2000
LOOK_EVERY_S = 2.0
"""How often a stream looks at its job unasked: for its place in the queue, and since RQ's tools say nothing."""
LOOKS_PER_S = 100
"""The most such looks of a process; where there are many streams each looks more rarely."""
QUIET_S = 60.0
PREVIEW = "data:image/png;base64,"


class JobStream:
    """The events of a job for one listener, from the record that was read when they came.

    `over` tells that the stream has ended by itself, not by its listener's leaving.
    """

    def __init__(self, services: Services, record: JobRecord, woken: asyncio.Event, race: Race) -> None:
        self._services, self._record = services, record
        self._woken, self._race = woken, race
        self._estimate, self._looked_at = NOTHING, 0.0
        self._live: Progress | None = None
        self._told: ProgressEvent | None = None
        self.over = False

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, services: Services, record: JobRecord) -> AsyncIterator["JobStream"]:
        """A stream that hears of its job for as long as the context is open."""
        with services.events.listen(record.id) as woken, services.watcher.listen(record.id) as heard:
            sources = {
                "woken": woken.wait,
                "closing": services.closing.wait,
                "news": lambda: heard.next(QUIET_S),
            }
            async with Race(sources) as race:
                yield cls(services, record, woken, race)

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """A snapshot; then progress and previews; `done` with the job, and nothing after it.

        Without `done` the server stops, or the job was forgotten while Redis was away; the listener may come again.
        """
        try:
            known = await self._look()
            yield ServerSentEvent(data=self._view(), event="snapshot", retry=RECONNECT_MS)
            self._told = self._progress()
            while known and not self._record.status.ended:
                came = await self._race.first(self._look_every_s)
                if "closing" in came:
                    break
                self._woken.clear()
                news: News | None = came.get("news")
                self._take_in(news)
                if "woken" in came or self._outdated:
                    known = await self._look()
                for event in self._changes(news):
                    yield event
            if self._record.status.ended:
                yield ServerSentEvent(data=self._view(), event="done")
        except Exception:
            self.over = True  # a fault of ours; nobody has left
            raise
        self.over = True

    @property
    def _look_every_s(self) -> float:
        return max(LOOK_EVERY_S, self._services.listeners.streams / LOOKS_PER_S)

    @property
    def _outdated(self) -> bool:
        """Whether the record is old, or behind what its worker tells."""
        record, live = self._record, self._live
        if live is not None and (record.status is not Status.RUNNING or record.meta.attempt < live.attempt):
            return True
        return self._age_s >= self._look_every_s

    @property
    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._looked_at

    async def _look(self) -> bool:
        """Read the job anew, if Redis answers; False when it is there no more."""
        self._looked_at = asyncio.get_running_loop().time()
        try:
            async with self._services.looks:
                self._record = await self._services.store.get(self._record.id)
                self._estimate = await self._services.store.estimate(self._record)
        except REDIS_DOWN:
            pass  # nothing is known, so nothing is told; a later look finds it back
        except (JobNotFound, JobGone):
            return False
        return True

    def _take_in(self, news: News | None) -> None:
        if news is not None and news.progress is not None:
            self._live = news.progress

    def _changes(self, news: News | None) -> Iterator[ServerSentEvent]:
        if self._record.status.ended:
            return
        progress = self._progress()
        if progress != self._told:
            self._told = progress
            yield ServerSentEvent(data=progress, event="progress")
        for preview in news.previews if news is not None else ():
            yield ServerSentEvent(data=_shown(preview), event="preview")

    def _progress(self) -> ProgressEvent:
        """What the worker told last, where that is newer than the record."""
        record, live = self._record, self._live
        completed, total = record.meta.completed, record.meta.total
        running = record.status is Status.RUNNING
        if running and live is not None and live.attempt == record.meta.attempt:
            completed = max(completed, live.completed)
        eta_s = self._estimate.eta_s
        if running and eta_s is not None:
            eta_s = max(0.0, round(eta_s - self._age_s, 1))
        return ProgressEvent(
            completed=completed,
            total=total,
            fraction=fraction(completed, total),
            status=record.status,
            queue_position=self._estimate.queue_position,
            eta_s=eta_s,
        )

    def _view(self) -> JobView:
        return view_of(self._record, self._services.links, self._estimate)


def _shown(preview: Preview) -> PreviewEvent:
    return PreviewEvent(index=preview.index, completed=preview.completed, image=PREVIEW + preview.png)
