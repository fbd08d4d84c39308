"""`unfog cancel`: stop a job."""

import json

import typer

from unfog.terminal import JobId, Json, Url, connected, printable


def cancel(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Stop a job at its next step. One that has ended stays as it is."""
    with connected("cancel", url) as client:
        job = client.cancel(job_id)
    typer.echo(json.dumps(dict(job.raw)) if as_json else f"{printable(job.id)} {printable(job.status)}")
