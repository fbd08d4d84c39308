"""The command line. Its commands live in `unfog.commands`, whose modules import what is heavy only when called."""

import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from unfog.terminal import exit_codes


class Command(NamedTuple):
    """Where a command is, and the rooms beside this package that it works with.

    The function of a group makes a Typer of commands.
    """

    module: str
    function: str
    rooms: tuple[str, ...] = ()
    group: bool = False


WITH_A_SERVICE, IN_A_CHECKOUT = "With a service that runs", "In a checkout of the project"

COMMANDS = {
    "generate": Command("unfog.commands.generate", "generate"),
    "jobs": Command("unfog.commands.jobs", "jobs"),
    "watch": Command("unfog.commands.watch", "watch"),
    "cancel": Command("unfog.commands.cancel", "cancel"),
    "models": Command("unfog.commands.models", "models"),
    "bench": Command("unfog.commands.bench", "bench"),
    "serve": Command("unfog.commands.serve", "serve", ("service", "jobs", "app", "worker", "models")),
    "api": Command("unfog.commands.api", "api", ("app", "jobs")),
    "worker": Command("unfog.commands.worker", "worker", ("worker", "jobs", "models", "service")),
    "dispatch": Command("unfog.commands.dispatch", "dispatch", ("dispatch", "jobs")),
    "train": Command("unfog.commands.train", "train", ("models",)),
    "parts": Command("unfog.commands.parts", "parts", ("models",), group=True),
    "noise": Command("unfog.commands.noise", "noise", ("models",)),
    "evaluate": Command("unfog.commands.evaluate", "evaluate", ("models",)),
    "keys": Command("unfog.commands.keys", "keys", ("jobs",), group=True),
    "webhooks": Command("unfog.commands.webhooks", "webhooks", ("jobs",), group=True),
}


def build() -> typer.Typer:
    """The commands whose modules are there."""
    cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    cli.callback(epilog=exit_codes())(_unfog)
    for name, command in COMMANDS.items():
        if importlib.util.find_spec(command.module) is not None:
            function = getattr(importlib.import_module(command.module), command.function)
            if command.group:
                group = _group(command.rooms, name, function())
                cli.add_typer(group, name=name, rich_help_panel=IN_A_CHECKOUT)
            else:
                panel = IN_A_CHECKOUT if command.rooms else WITH_A_SERVICE
                cli.command(name, rich_help_panel=panel)(_needing(command.rooms, name, function))
    return cli


def main() -> None:
    """The entry point `unfog`."""
    build()()


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"unfog {importlib.metadata.version('unfog')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("unfog, as it lies here and not installed")
        raise typer.Exit


def _unfog(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Diffusion models as a job service: name a sampler and a step count, get a PNG."""


def _group(rooms: tuple[str, ...], name: str, group: typer.Typer) -> typer.Typer:
    """The group, each of its commands behind the sentence of `_needing`."""
    for command in group.registered_commands:
        assert command.callback is not None
        command.callback = _needing(rooms, f"{name} {command.name}", command.callback)
    return group


def _needing(rooms: tuple[str, ...], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, behind a sentence for those who have the wheel alone."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        if not all(_is_beside(room) for room in rooms):
            typer.echo(
                f"`unfog {name}` needs a checkout of the project: the installed package is the client alone. "
                "Clone the repository and run `make serve` there.",
                err=True,
            )
            raise typer.Exit(2)
        return function(*arguments, **options)

    return command


def _is_beside(room: str) -> bool:
    """Whether a room lies next to this package; another package of that name does not count."""
    return (Path(__file__).resolve().parent.parent / room / "__init__.py").is_file()
