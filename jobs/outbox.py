"""The outbox: webhooks lie in a stream from the transaction that ends the job until their receiver has them.

An entry that a dispatcher has read stays pending until it is settled, and one that has been pending for too long
is another's to claim. Between two tries a webhook waits in a sorted set and is put back on the stream when it is
due; all of that lies in Redis, so a dispatcher may die at any moment. Every move is one script that begins with
the acknowledgement: of two dispatchers that hold the same entry only the first can settle it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs import keys
from jobs.webhook import Webhook

log = structlog.get_logger()

GROUP = "dispatch"
FIELD = "webhook"
DEAD_KEPT_S = 7 * 86_400
MOVED_AT_ONCE = 500

# Delivered is delivered, also when another dispatcher has put the same entry away meanwhile.
_DELIVERED = """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HDEL', KEYS[4], ARGV[3])
"""
# Frees before it fills, so it goes through in a full Redis too.
_PUT_AWAY = """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[5])
return 1
"""
_PROMOTE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  local webhook = redis.call('HGET', KEYS[3], id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
  if webhook then redis.call('XADD', KEYS[1], '*', ARGV[3], webhook) end
end
return #due
"""
_RESEND = """
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
return 1
"""
_FORGET = """
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(old) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return #old
"""
_RENEW = """
local kept = 0
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    kept = kept + 1
  end
end
return kept
"""
# A consumer that holds nothing may be struck at any time: it is made anew when it reads again.
_STRIKE_IDLE = """
local struck = 0
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #found, 2 do of[found[i]] = found[i + 1] end
  if of['pending'] == 0 and of['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of['name'])
    struck = struck + 1
  end
end
return struck
"""


@dataclass(frozen=True)
class Entry:
    """A webhook on the stream, pending for the dispatcher that read it."""

    id: str
    webhook: Webhook


@dataclass(frozen=True)
class Dead:
    """A webhook that was given up, and the Unix second when."""

    webhook: Webhook
    died_at: float


class Outbox:
    """The outbox as one dispatcher sees it; any number of them share it. Times are Unix seconds."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis, self._consumer = redis, consumer

    async def prepare(self) -> None:
        """Make the group that shares the stream, if it is not there; it begins with the oldest entry."""
        try:
            await self._redis.xgroup_create(keys.OUTBOX, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, count: int, block_ms: int) -> list[Entry]:
        """At most `count` webhooks that nobody has read yet; waits for one."""
        answer: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, {keys.OUTBOX: ">"}, count=count, block=block_ms
        )
        return await self._entries(answer[0][1] if answer else [])

    async def claim(self, count: int, idle_s: float) -> list[Entry]:
        """At most `count` webhooks whose dispatcher has said nothing of them for `idle_s`."""
        claimed: list[Entry] = []
        cursor: Any = "0-0"
        while True:  # each call looks at ten times what it may claim, and those first in line may all be in work
            left = count - len(claimed)
            answer: Any = await self._redis.xautoclaim(
                keys.OUTBOX, GROUP, self._consumer, int(idle_s * 1000), cursor, count=left
            )
            cursor = answer[0]
            claimed += await self._entries([entry for entry in answer[1] if entry[0] is not None])
            if len(claimed) >= count or cursor == b"0-0":
                return claimed

    async def renew(self, entries: Sequence[Entry]) -> int:
        """Say that these are still being worked on; how many are ours: what another has claimed stays with it."""
        ours = 0
        for first in range(0, len(entries), MOVED_AT_ONCE):
            names = [entry.id for entry in entries[first : first + MOVED_AT_ONCE]]
            ours += int(await self._run(_RENEW, [keys.OUTBOX], GROUP, self._consumer, *names))
        return ours

    async def delivered(self, entry: Entry) -> None:
        """Forget a webhook: its receiver has it, or wants none."""
        names = [keys.OUTBOX, keys.WEBHOOKS_DUE, keys.WEBHOOKS_DEAD, keys.WEBHOOKS]
        await self._run(_DELIVERED, names, GROUP, entry.id, entry.webhook.id)

    async def postpone(self, entry: Entry, webhook: Webhook, due: float) -> None:
        """Put a webhook, as it now is, away until it is due."""
        await self._put_away(keys.WEBHOOKS_DUE, entry, webhook, due)

    async def give_up(self, entry: Entry, webhook: Webhook, at: float) -> None:
        """Put a webhook, as it now is, on the dead list."""
        await self._put_away(keys.WEBHOOKS_DEAD, entry, webhook, at)

    async def promote(self, at: float) -> int:
        """Put what is due back on the stream; how many."""
        names = [keys.OUTBOX, keys.WEBHOOKS_DUE, keys.WEBHOOKS]
        return int(await self._run(_PROMOTE, names, int(at * 1000), MOVED_AT_ONCE, FIELD))

    async def tidy(self, at: float, idle_s: float) -> None:
        """Forget the dead after seven days, and dispatchers that hold nothing and said nothing for `idle_s`."""
        names = [keys.WEBHOOKS_DEAD, keys.WEBHOOKS]
        oldest = int((at - DEAD_KEPT_S) * 1000)
        while await self._run(_FORGET, names, oldest, MOVED_AT_ONCE) == MOVED_AT_ONCE:
            pass
        await self._run(_STRIKE_IDLE, [keys.OUTBOX], GROUP, int(idle_s * 1000))

    async def dead(self) -> list[Dead]:
        """What was given up in the last seven days, newest first."""
        listed: Any = await self._redis.zrevrange(keys.WEBHOOKS_DEAD, 0, -1, withscores=True)
        found: list[Dead] = []
        for first in range(0, len(listed), MOVED_AT_ONCE):
            chunk = listed[first : first + MOVED_AT_ONCE]
            raw: Any = await self._redis.hmget(keys.WEBHOOKS, [name for name, _ in chunk])
            found += [
                Dead(Webhook.model_validate_json(data), score / 1000)
                for data, (_, score) in zip(raw, chunk, strict=True)
                if data is not None
            ]
        return found

    async def resend(self, webhook_id: str) -> bool:
        """Send a webhook of the dead list again, all tries before it; False if it is not there."""
        raw: Any = await self._redis.hget(keys.WEBHOOKS, webhook_id)
        if raw is None:
            return False
        fresh = Webhook.model_validate_json(raw).model_copy(update={"tries": 0, "reason": None})
        names = [keys.OUTBOX, keys.WEBHOOKS_DEAD, keys.WEBHOOKS]
        return bool(await self._run(_RESEND, names, webhook_id, FIELD, fresh.model_dump_json()))

    async def _put_away(self, where: str, entry: Entry, webhook: Webhook, at: float) -> None:
        names = [keys.OUTBOX, where, keys.WEBHOOKS]
        await self._run(_PUT_AWAY, names, GROUP, entry.id, webhook.id, int(at * 1000), webhook.model_dump_json())

    async def _entries(self, raw: Any) -> list[Entry]:
        """The webhooks of stream entries; one that nobody could read is taken off the stream."""
        entries: list[Entry] = []
        for entry_id, fields in raw:
            try:
                webhook = Webhook.model_validate_json((fields or {}).get(FIELD.encode(), b""))
            except ValidationError:
                log.error("an entry of the outbox is no webhook of this release; dropped", entry=entry_id.decode())
                await self._redis.xack(keys.OUTBOX, GROUP, entry_id)
                await self._redis.xdel(keys.OUTBOX, entry_id)
                continue
            entries.append(Entry(entry_id.decode(), webhook))
        return entries

    async def _run(self, script: str, names: Sequence[str], *arguments: Any) -> Any:
        return await self._redis.eval(script, len(names), *names, *arguments)
