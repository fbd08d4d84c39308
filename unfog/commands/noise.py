"""`unfog noise`: the forward process on a picture of one's own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Schedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]


def noise(
    image: Annotated[Path, typer.Argument(help="A picture: PNG, JPEG, WebP, …")],
    timesteps: Annotated[
        str, typer.Option(help="Which timesteps to show, 0 to 999, separated by commas.")
    ] = "0,250,500,750,999",
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the strip, a PNG.")] = Path(
        "strip.png"
    ),
    schedule: Annotated[Schedule, typer.Option(help="The noise schedule.")] = "linear",
    model: Annotated[Path | None, typer.Option(help="A model folder whose noise schedule to use instead.")] = None,
    size: Annotated[int, typer.Option(min=8, max=1024, help="Width and height of one picture, in pixels.")] = 256,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The seed of the noise.")] = 0,
) -> None:
    """Drown IMAGE in noise: one strip, a picture per timestep, all with the same noise.

    At timestep t the picture is √ᾱ_t of itself and √(1-ᾱ_t) of static (Ho et al. 2020, equation 4).
    """
    from PIL import Image

    from models.errors import ModelError
    from models.folder import describe_model
    from models.noise_schedule import NoiseSchedule
    from models.strip import noise_strip

    try:
        if model is None:
            levels = NoiseSchedule.from_config({"beta_schedule": schedule})
        else:
            levels = describe_model(model).schedule
        numbers = _numbers(timesteps, levels.num_train_timesteps)
        with Image.open(image) as picture:
            noise_strip(picture, levels, numbers, size, seed).save(output, format="PNG")
    except (OSError, SyntaxError, ModelError, Image.DecompressionBombError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"Wrote {output}: {image.name} at timesteps {', '.join(map(str, numbers))}")


def _numbers(text: str, count: int) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 <= number < count for number in numbers):
        raise typer.BadParameter(
            f"--timesteps takes numbers from 0 to {count - 1} separated by commas, not {text!r}"
        )
    return numbers
