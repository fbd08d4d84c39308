"""`unfog serve`: the whole service on this machine."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on, instead of UNFOG_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port, instead of UNFOG_PORT; 0 takes a free one.")
    ] = None,
) -> None:
    """Start Redis, a worker and the API; stop them all with Ctrl-C."""
    from service.preflight import read_settings
    from service.problem import CannotStart
    from service.stack import serve as run
    from service.stack import write_line

    try:
        chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        raise typer.Exit(run(read_settings().model_copy(update=chosen), write_line))
    except CannotStart as problem:
        typer.echo(f"Unfog cannot start. {problem}", err=True)
        raise typer.Exit(2) from None
