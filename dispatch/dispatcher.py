"""Takes webhooks from the outbox, tries each, and puts it where the outcome says.

What it knows lies in Redis: it may be killed at any moment, and while Redis is away it waits. It holds what it has
read by speaking of it again and again; a dispatcher that has fallen silent loses what it held to the others.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from pydantic import HttpUrl
from redis.exceptions import RedisError

from dispatch.pace import Limits, Pace
from dispatch.sender import Delivered, Failed, Gone, Outcome, Sender
from dispatch.slots import Slots
from jobs.outbox import Entry, Outbox
from jobs.webhook import Webhook
from jobs.webhook_url import WebhookUrlRefused, host_of, parse_webhook_url

log = structlog.get_logger()

Answer = TypeVar("Answer")

BLOCK_MS = 400
"""Below the socket timeout of the client."""
READ_AT_ONCE = 200
TIDY_EVERY_S = 600.0
SILENT_S = 3600.0
"""A dispatcher that holds nothing and was not heard of for so long is struck off the group."""


@dataclass(frozen=True)
class _Held:
    """A webhook that this dispatcher works on."""

    entry: Entry
    host: str
    task: asyncio.Task[None]


class Dispatcher:
    """One dispatcher; any number of them share an outbox."""

    def __init__(
        self, outbox: Outbox, sender: Sender, pace: Pace, *, allow_private: bool, limits: Limits | None = None
    ) -> None:
        self._outbox, self._sender, self._pace = outbox, sender, pace
        self._allow_private = allow_private
        self._limits = limits or Limits()
        self._slots = Slots(self._limits)
        self._held: dict[str, _Held] = {}
        self._callers: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()
        self._stopping = False
        self._prepared = False
        self._renew_at = self._claim_at = self._tidy_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until asked to stop; then finish the tries under way, within their time."""
        away = False
        while not stop.is_set():
            try:
                await self._turn()
            except RedisError as error:
                if not away:
                    log.warning("redis cannot be used; waiting", reason=type(error).__name__)
                away, self._prepared = True, False
                # Those that hold webhooks could not say so meanwhile: they speak first.
                self._renew_at, self._claim_at = 0.0, time.monotonic() + self._pace.lease_s
                await self._pause()
            else:
                if away:
                    log.info("redis is back")
                away = False
        await self._finish()

    async def _turn(self) -> None:
        now = time.monotonic()
        if not self._prepared:
            await self._outbox.prepare()
            self._prepared = True
        if now >= self._renew_at:
            await self._outbox.renew([held.entry for held in self._held.values()])
            self._renew_at = now + self._pace.lease_s / 3
        if now >= self._tidy_at:
            await self._outbox.tidy(time.time(), SILENT_S)
            self._tidy_at = now + TIDY_EVERY_S
        await self._outbox.promote(time.time())
        for entry in await self._next(now):
            self._take(entry)

    async def _next(self, now: float) -> list[Entry]:
        """Webhooks to work on: those of the dead first, then what is new."""
        count = min(READ_AT_ONCE, self._limits.held - len(self._held))
        if count <= 0:
            tasks = [held.task for held in self._held.values()]
            await asyncio.wait(tasks, timeout=BLOCK_MS / 1000, return_when=asyncio.FIRST_COMPLETED)
            return []
        if now >= self._claim_at:
            claimed = await self._outbox.claim(READ_AT_ONCE, self._pace.lease_s)
            if len(claimed) < READ_AT_ONCE:
                self._claim_at = now + self._pace.lease_s / 2
            if claimed:
                return claimed
        return await self._outbox.read(count, BLOCK_MS)

    def _take(self, entry: Entry) -> None:
        if entry.id in self._held:
            return
        webhook = entry.webhook
        try:
            url = parse_webhook_url(webhook.url, self._allow_private)
        except WebhookUrlRefused as refused:
            self._hold(entry, "", self._give_up(entry, webhook, f"URL refused: {refused}"))
            return
        host = host_of(url)
        crowded = (
            self._callers[webhook.caller] >= self._limits.held_of_caller
            or self._hosts[host] >= self._limits.held_to_host
        )
        self._hold(entry, host, self._put_off(entry) if crowded else self._deliver(entry, url, host))

    def _hold(self, entry: Entry, host: str, work: Awaitable[None]) -> None:
        """Work on a webhook in a task of its own, and hold it until that has ended."""
        self._held[entry.id] = _Held(entry, host, asyncio.ensure_future(self._until_done(entry, work)))
        self._callers[entry.webhook.caller] += 1
        self._hosts[host] += 1

    async def _until_done(self, entry: Entry, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            held = self._held.pop(entry.id)
            for counter, name in ((self._callers, entry.webhook.caller), (self._hosts, held.host)):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]

    async def _deliver(self, entry: Entry, url: HttpUrl, host: str) -> None:
        webhook = entry.webhook
        async with self._slots.one(webhook.caller, host):
            # It may have waited for long: one that was frozen meanwhile must not send what others have sent.
            if self._stopping or not await self._insist(lambda: self._outbox.renew([entry])):
                return
            outcome = await self._send(webhook, url)
            tried = webhook.model_copy(update={"tries": webhook.tries + 1})
            said = log.bind(webhook=webhook.id, job=webhook.job, host=host, tries=tried.tries)
            match outcome:
                case Delivered(status):
                    await self._insist(lambda: self._outbox.delivered(entry))
                    said.info("webhook delivered", status=status)
                case Gone(status):
                    await self._insist(lambda: self._outbox.delivered(entry))
                    said.info("webhook dropped; its receiver wants none", status=status)
                case Failed(reason):
                    await self._try_later(entry, tried, reason)

    async def _send(self, webhook: Webhook, url: HttpUrl) -> Outcome:
        try:
            return await self._sender.send(webhook, url)
        except Exception as error:  # noqa: BLE001  # a webhook that nobody thought of must not come back for ever
            # Its message may quote the URL, which may hold the receiver's secrets.
            log.error("webhook could not be sent", webhook=webhook.id, reason=type(error).__name__)
            return Failed(f"internal error: {type(error).__name__}")

    async def _try_later(self, entry: Entry, tried: Webhook, reason: str) -> None:
        delay_s = self._pace.delay_s(tried.tries)
        if delay_s is None:
            await self._give_up(entry, tried, reason)
            return
        log.warning(
            "webhook failed; to be tried again",
            webhook=tried.id,
            job=tried.job,
            reason=reason,
            tries=tried.tries,
            in_s=round(delay_s, 1),
        )
        later = tried.model_copy(update={"reason": reason})
        due = time.time() + delay_s
        await self._insist(lambda: self._outbox.postpone(entry, later, due))

    async def _give_up(self, entry: Entry, webhook: Webhook, reason: str) -> None:
        log.error("webhook given up", webhook=webhook.id, job=webhook.job, reason=reason, tries=webhook.tries)
        dead = webhook.model_copy(update={"reason": reason})
        at = time.time()
        await self._insist(lambda: self._outbox.give_up(entry, dead, at))

    async def _put_off(self, entry: Entry) -> None:
        """There is no room for more of this caller or host; not its fault, so it is no try."""
        due = time.time() + self._pace.crowded_s
        await self._insist(lambda: self._outbox.postpone(entry, entry.webhook, due))

    async def _insist(self, act: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do it, however long Redis is away or full."""
        while True:
            try:
                return await act()
            except RedisError:
                await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._pace.redis_pause_s)

    async def _finish(self) -> None:
        """Let the tries under way end; those that take longer are cut off and will be repeated."""
        self._stopping = True
        tasks = [held.task for held in self._held.values()]
        if tasks:
            log.info("stopping; the tries under way may end", held=len(tasks))
            await asyncio.wait(tasks, timeout=self._pace.stop_s)
        # redis-py loses a cancellation that comes together with an answer, so one may not be enough.
        while left := [task for task in tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.1)
