"""The Redis of the service, for commands that look into it: with the supervisor beside it or without."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from jobs.settings import Settings


@contextlib.contextmanager
def settings_of_the_service() -> "Iterator[Settings]":
    """Settings that name the Redis of the service: the one of UNFOG_REDIS_URL, or the one it keeps itself."""
    from jobs.settings import SettingsError, load_settings

    try:
        settings = load_settings()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if "redis_url" in settings.model_fields_set:
        yield settings
        return
    try:
        from service.problem import CannotStart
        from service.reach import reached_redis
    except ImportError:  # an image of one process has no supervisor in it
        typer.echo("Set UNFOG_REDIS_URL to the Redis of the service.", err=True)
        raise typer.Exit(2) from None
    try:
        with reached_redis(settings) as reached:
            yield reached
    except CannotStart as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
