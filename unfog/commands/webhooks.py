"""`unfog webhooks`: what could not be delivered, and the secrets that receivers check signatures with."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from unfog.commands.reached import settings_of_the_service

if TYPE_CHECKING:
    from jobs.outbox import Outbox
    from jobs.settings import Settings

Answer = TypeVar("Answer")


def webhooks() -> typer.Typer:
    """The commands of `unfog webhooks`."""
    group = typer.Typer(no_args_is_help=True, help="List and resend what was given up; print signing secrets.")
    group.command("dead")(dead)
    group.command("resend")(resend)
    group.command("secret")(secret)
    return group


def dead() -> None:
    """Show the webhooks that were given up in the last seven days, newest first."""
    from rich.console import Console
    from rich.table import Table

    from jobs.webhook_url import shown_host

    found = _asked(lambda outbox: outbox.dead())
    if not found:
        typer.echo("No webhook has been given up in the last seven days.")
        return
    table = Table("id", "job", "caller", "host", "tries", "given up", "last reason", box=None, pad_edge=False)
    for each in found:
        webhook, when = each.webhook, datetime.fromtimestamp(each.died_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        host, reason = shown_host(webhook.url), webhook.reason or ""
        table.add_row(webhook.id, webhook.job, webhook.caller, host, str(webhook.tries), when, reason)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 400  # a file or a pipe has no edge to wrap at
    console.print(table)


def resend(
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="As `unfog webhooks dead` shows it.")],
) -> None:
    """Send a webhook again that was given up, with all its tries before it."""
    if not _asked(lambda outbox: outbox.resend(webhook_id)):
        raise typer.BadParameter(f"no webhook {webhook_id!r} was given up in the last seven days")
    typer.echo(f"Webhook {webhook_id} is on its way again, under the same id.")


def secret(
    caller: Annotated[str, typer.Argument(help="The name of the caller's key; `anonymous` for those without one.")],
) -> None:
    """Print the secret with which CALLER can check that a webhook comes from here."""
    from jobs.settings import SettingsError, load_settings
    from jobs.webhook import secret_of

    try:
        master = load_settings().webhook_secret.get_secret_value()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not master:
        typer.echo("Set UNFOG_WEBHOOK_SECRET to the one that the service has.", err=True)
        raise typer.Exit(2)
    typer.echo(secret_of(master, caller))


def _asked(ask: "Callable[[Outbox], Awaitable[Answer]]") -> Answer:
    """What the outbox of the service answers."""
    from redis.exceptions import RedisError

    from jobs.connection import connect_async
    from jobs.outbox import Outbox

    async def run(settings: "Settings") -> Answer:
        redis = connect_async(settings)
        try:
            return await ask(Outbox(redis, "unfog webhooks"))
        finally:
            await redis.aclose()

    with settings_of_the_service() as settings:
        try:
            return asyncio.run(run(settings))
        except RedisError as error:
            typer.echo(f"Redis did not do it: {error}", err=True)
            raise typer.Exit(1) from None
