"""How the commands that talk to a service behave in a terminal: what they say, and what they exit with."""

import contextlib
from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from unfog.client import Client

Url = Annotated[
    str | None,
    typer.Option("--url", help="Where the service is: UNFOG_URL if left out, else http://127.0.0.1:8000."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobId = Annotated[str, typer.Argument(help="A job's id.")]


class ExitCode(IntEnum):
    """What scripts can tell apart."""

    OK = 0
    JOB_ENDED = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    KEY = 5
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.JOB_ENDED: "the job failed, was canceled, or did not end in the time given",
    ExitCode.USAGE: "the command line or a file named on it is wrong",
    ExitCode.REFUSED: "the service refuses the request, or knows no such job",
    ExitCode.UNAVAILABLE: "the service does not answer, cannot now, or is full: later it may",
    ExitCode.KEY: "an API key is needed in UNFOG_API_KEY, or that key may not do it",
    ExitCode.INTERRUPTED: "Ctrl-C; `generate` has canceled its job",
}


def exit_codes() -> str:
    """The meanings in one line, for `unfog --help`."""
    return "Exit codes: " + "; ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + "."


@contextlib.contextmanager
def speaking(command: str) -> Iterator[None]:
    """Turn what goes wrong inside into a sentence and an exit code."""
    from unfog.errors import UnfogError

    try:
        yield
    except UnfogError as error:
        say(f"unfog {command}: {error}")
        raise typer.Exit(exit_code(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        say(f"unfog {command}: {error}")
        raise typer.Exit(ExitCode.USAGE) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def exit_code(error: Exception) -> ExitCode:
    """What a command exits with after an `UnfogError`."""
    from unfog import errors

    match error:
        case errors.WrongArgument():
            return ExitCode.USAGE
        case errors.JobEnded() | errors.WaitTimeout():
            return ExitCode.JOB_ENDED
        case errors.Unauthorized() | errors.Forbidden():
            return ExitCode.KEY
        case errors.QueueFull() | errors.ServiceUnavailable() | errors.ServiceFault():
            return ExitCode.UNAVAILABLE
        case errors.Problem():
            return ExitCode.REFUSED
    return ExitCode.UNAVAILABLE


@contextlib.contextmanager
def connected(command: str, url: str | None) -> "Iterator[Client]":
    """A client, and sentences for what goes wrong with it."""
    with speaking(command):
        from unfog.client import Client

        with Client(url) as client:
            yield client


def say(text: str) -> None:
    """Tell a person, on standard error."""
    typer.echo(printable(text), err=True)


def printable(text: object) -> str:
    """A text from elsewhere without control characters, which could write anywhere on a terminal."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in str(text))
