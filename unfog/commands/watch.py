"""`unfog watch`: a job until its end."""

import json
from typing import TYPE_CHECKING, Any

import typer

from unfog.terminal import JobId, Json, Url, connected, printable

if TYPE_CHECKING:
    from unfog.answers import Job
    from unfog.client import Client


def watch(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Show how far a job is until it has ended. Ctrl-C ends the watching, not the job."""
    from unfog.showing import Bar

    with connected("watch", url) as client:
        if as_json:
            _print_events(client, job_id)
            return
        with Bar(job_id) as bar:
            job = client.wait(job_id, on_progress=bar.show)
        typer.echo(f"{printable(job.id)} {job.status}")


def _print_events(client: "Client", job_id: str) -> None:
    """A line of JSON for each event; raises as `wait` does at the end."""
    from unfog.events import Done, Preview, Progressed, Snapshot

    job: Job | None = None
    for event in client.events(job_id):
        told: dict[str, Any] = {}
        match event:
            case Snapshot(job):
                told = {"event": "snapshot", "job": dict(job.raw)}
            case Done(job):
                told = {"event": "done", "job": dict(job.raw)}
            case Progressed(progress):
                told = {"event": "progress", **vars(progress)}
            case Preview(index, completed, png):
                told = {"event": "preview", "index": index, "completed": completed, "bytes": len(png)}
        print(json.dumps(told), flush=True)
    if job is not None:
        client.wait(job)
