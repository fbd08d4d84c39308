"""The denoising as an animated PNG."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image


def frame_indices(evaluations: int, most: int = 24) -> list[int]:
    """Which evaluations to keep as frames: at most ``most``, evenly spread, first and last among them."""
    assert evaluations >= 1
    assert most >= 2
    chosen = np.linspace(0, evaluations - 1, min(evaluations, most))
    return [int(index) for index in np.round(chosen)]


def animate(frames: Sequence[npt.NDArray[np.uint8]], frame_ms: int = 80, hold_ms: int = 1500) -> bytes:
    """Frames uint8, all (H, W, 3) or all (H, W), as an APNG that loops and rests ``hold_ms`` on the last.

    A viewer without APNG shows the last frame, the finished picture. Same frames, same bytes.

    Raises:
        ValueError: no frames.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    images = [Image.fromarray(frame) for frame in (frames[-1], *frames)]
    file = io.BytesIO()
    images[0].save(
        file,
        format="PNG",
        save_all=True,
        append_images=images[1:],
        default_image=True,
        duration=[frame_ms] * (len(frames) - 1) + [hold_ms],
        loop=0,
    )
    return file.getvalue()
