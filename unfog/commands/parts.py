"""`unfog parts`: a run or a model cut into small safetensors files for a way that carries no large ones."""

from pathlib import Path
from typing import Annotated

import typer


def parts() -> typer.Typer:
    """The commands of `unfog parts`."""
    group = typer.Typer(no_args_is_help=True, help="Cut a run or a model into small files, and join them again.")
    group.command("cut")(cut)
    group.command("join")(join)
    return group


def cut(
    source: Annotated[Path, typer.Argument(help="A file, or a folder with all in it.")],
    out: Annotated[Path, typer.Option(help="Folder for the parts.")],
    most_mb: Annotated[float, typer.Option(help="Largest part, in millions of bytes.")] = 15.0,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out this file or folder at the top; give it again for more.")
    ] = None,
) -> None:
    """Cut a file or folder into parts, with the checksums that `join` holds them to."""
    from models.errors import ModelError
    from models.training.parts import cut as cut_parts

    try:
        written = cut_parts(source, out, most_mb, without or ())
    except ModelError as error:
        typer.echo(f"unfog parts cut: {error}", err=True)
        raise typer.Exit(1) from error
    size = sum(path.stat().st_size for path in written) / 1e6
    typer.echo(f"{len(written)} parts, {size:.1f} MB: {out}")


def join(
    folder: Annotated[Path, typer.Argument(help="Folder with the parts, in sub-folders or not.")],
    out: Annotated[Path, typer.Option(help="Folder that the files are put into.")],
) -> None:
    """Join parts again; nothing is left half written, and every checksum is compared."""
    from models.errors import ModelError
    from models.training.parts import join as join_parts

    try:
        written = join_parts(folder, out)
    except ModelError as error:
        typer.echo(f"unfog parts join: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{len(written)} files, every checksum right: {out}")
