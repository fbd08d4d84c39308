"""`unfog jobs`: what was submitted lately."""

import itertools
import json
from typing import TYPE_CHECKING, Annotated

import typer

from unfog.terminal import Json, Url, connected

if TYPE_CHECKING:
    from unfog.answers import Job


def jobs(
    status: Annotated[
        str | None, typer.Option(help="Only queued, running, succeeded, failed or canceled ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List your jobs, newest first."""
    from unfog.showing import show_table

    with connected("jobs", url) as client:
        found = list(itertools.islice(client.jobs(status=status, page_size=min(limit, 100)), limit))
    if as_json:
        print(json.dumps([dict(job.raw) for job in found]))
    else:
        show_table(("job", "status", "done", "model", "sampler", "steps", "n", "seed", "created"), map(_row, found))


def _row(job: "Job") -> tuple[object, ...]:
    asked = job.request
    what = (job.model, asked.get("sampler"), asked.get("steps"), asked.get("num_images"), job.seed)
    return job.id, job.status, f"{job.progress.fraction:.0%}", *what, f"{job.created_at:%Y-%m-%d %H:%M:%S}Z"
