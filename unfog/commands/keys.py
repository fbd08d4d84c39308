"""`unfog keys`: who may call the service. Works on the Redis of the service on this machine, running or not."""

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from unfog.commands.reached import settings_of_the_service

if TYPE_CHECKING:
    from redis import Redis

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class ScopeName(StrEnum):
    """What a key may open."""

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


def keys() -> typer.Typer:
    """The commands of `unfog keys`."""
    group = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys that callers send.")
    group.command("create")(create)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    return group


def create(
    name: Annotated[str, typer.Argument(help="The caller. Two keys of one name are one caller.")],
    scope: Annotated[
        list[ScopeName] | None,
        typer.Option(help="submit, read or admin; give it again for more. [default: submit read]"),
    ] = None,
    expires_in: Annotated[str | None, typer.Option(help="Such as 12h, 30d or 8w; never, if left out.")] = None,
) -> None:
    """Make a key for NAME and print it, this once. From the first key on, callers need one."""
    from jobs.api_keys import DEFAULT_SCOPES, KeyUnmade, make_key

    seconds = None if expires_in is None else _seconds(expires_in)
    with _redis() as redis:
        try:
            key, token = make_key(redis, name, scope or DEFAULT_SCOPES, seconds)
        except KeyUnmade as error:
            raise typer.BadParameter(str(error)) from error
    typer.echo(
        f"Key {key.id} for {key.name}: {', '.join(key.scopes)}; {_until(key.expires_at)}. "
        "It is shown this once, and goes into the header `Authorization: Bearer …`:",
        err=True,
    )
    typer.echo(token)


def list_keys() -> None:
    """Show every key ever made. The keys themselves are not kept."""
    from rich.console import Console
    from rich.table import Table

    from jobs.api_keys import all_keys

    with _redis() as redis:
        found = all_keys(redis)
    if not found:
        typer.echo(
            "There is no key yet: whoever reaches the service may use it. `unfog keys create NAME` makes one."
        )
        return
    table = Table("id", "caller", "scopes", "made", "last used", "expires", "state", box=None, pad_edge=False)
    now = datetime.now(UTC).timestamp()
    for key, used_at in found:
        times = [_day(key.created_at), _day(used_at), _day(key.expires_at)]
        table.add_row(key.id, key.name, " ".join(key.scopes), *times, key.state(now))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a file or a pipe has no edge to wrap at
    console.print(table)


def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `unfog keys list` shows it.")]) -> None:
    """Close a key for good. The running service knows within a second."""
    from jobs.api_keys import KeyNotFound, revoke_key

    with _redis() as redis:
        try:
            key = revoke_key(redis, key_id)
        except KeyNotFound as error:
            raise typer.BadParameter(str(error)) from error
    assert key.revoked_at is not None
    typer.echo(f"Key {key.id} of {key.name} is revoked since {_day(key.revoked_at)}.")


@contextlib.contextmanager
def _redis() -> "Iterator[Redis]":
    from redis.exceptions import RedisError

    from jobs.connection import REDIS_DOWN, connect

    with settings_of_the_service() as settings, connect(settings) as redis:
        try:
            yield redis
        except REDIS_DOWN as error:
            typer.echo(
                f"UNFOG_REDIS_URL is set, but no Redis can be used there ({type(error).__name__}). "
                "Start it or correct the URL.",
                err=True,
            )
            raise typer.Exit(2) from None
        except RedisError as error:
            typer.echo(f"Redis did not do it: {error}", err=True)
            raise typer.Exit(1) from None


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no length of time; write a number and m, h, d or w, such as 30d",
            param_hint="--expires-in",
        )
    return int(found[1]) * _UNITS_S[found[2]]


def _until(moment: int | None) -> str:
    return "does not expire" if moment is None else f"expires {_day(moment)}"


def _day(moment: int | None) -> str:
    if moment is None:
        return "never"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
