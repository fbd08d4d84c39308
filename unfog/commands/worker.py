"""`unfog worker`: one worker alone, or one for each device, for those who start the processes themselves."""

import os
import sys
from typing import Annotated

import typer


def worker(
    devices: Annotated[
        str | None,
        typer.Option(help="One worker for each, as 0,1 for the first two cards; without, one on UNFOG_DEVICE."),
    ] = None,
) -> None:
    """Run a worker, or one for each device, with the settings in the environment."""
    if devices is None:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "worker"])  # noqa: S606 - signals then reach it directly
    from service.preflight import read_settings
    from service.problem import CannotStart
    from service.stack import write_line
    from service.workers import parsed_devices, serve_devices

    try:
        raise typer.Exit(serve_devices(read_settings(), parsed_devices(devices), write_line))
    except CannotStart as problem:
        typer.echo(f"Unfog cannot start. {problem}", err=True)
        raise typer.Exit(2) from None
