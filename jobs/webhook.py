"""One webhook: the word that a job has ended, as it lies in the outbox until its receiver has taken it."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from jobs.record import JobRecord, Status

Event = Literal["job.succeeded", "job.failed", "job.canceled"]
_EVENTS: dict[Status, Event] = {
    Status.SUCCEEDED: "job.succeeded",
    Status.FAILED: "job.failed",
    Status.CANCELED: "job.canceled",
}


class Webhook(BaseModel):
    """Word of one job's end. It holds all that is sent, so that repeats say the same whatever became of the job.

    Its id is the same for every try, and another job's end has another.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    job: str
    caller: str
    url: str
    event: Event
    at: str
    """When the job ended, RFC 3339."""
    data: dict[str, Any]
    tries: int = 0
    reason: str | None = None
    """Why the last try failed."""


def webhook_of(record: JobRecord) -> Webhook:
    """The webhook of a job that has ended; its spec names where to."""
    assert record.status.ended
    assert record.finished_at is not None
    assert record.spec.webhook_url is not None
    # No full stop in it: what is signed is "id.timestamp.body". One attempt ends at most once, except that one
    # which RQ's tools queued again may then be canceled.
    name = f"msg_{record.id.removeprefix('job_')}_{record.meta.attempt}_{record.status}"
    return Webhook(
        id=name,
        job=record.id,
        caller=record.spec.caller,
        url=record.spec.webhook_url,
        event=_EVENTS[record.status],
        at=_rfc3339(record.finished_at),
        data=_facts(record),
    )


def secret_of(secret: str, caller: str) -> str:
    """The secret that a caller's webhooks are signed with: derived, so that no caller can forge another's."""
    assert secret
    derived = hmac.new(secret.encode(), caller.encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(derived).decode()


def _facts(record: JobRecord) -> dict[str, Any]:
    """The job under the names that the API gives it, without its request and without URLs."""
    spec, meta, failure = record.spec, record.meta, record.failure
    return {
        "id": record.id,
        "object": "job",
        "status": str(record.status),
        "model": spec.model,
        "model_fingerprint": spec.model_fingerprint,
        "engine": meta.engine,
        "seed": spec.seed,
        "attempt": meta.attempt,
        "created_at": _rfc3339(record.created_at),
        "started_at": _rfc3339(record.started_at) if record.started_at else None,
        "finished_at": _rfc3339(record.finished_at) if record.finished_at else None,
        "expires_at": _rfc3339(record.expires_at) if record.expires_at else None,
        "images": [picture.model_dump(exclude={"key"}) for picture in meta.pictures],
        "metadata": spec.metadata,
        "error": failure.model_dump() if failure else None,
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
