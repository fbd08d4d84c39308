"""One evaluation's arithmetic for a whole batch, whatever mix of samplers is in it."""

import torch
from torch import Tensor

from models.noise_schedule import Thresholding
from models.samplers.table import COLUMNS


def update(
    x: Tensor,
    out: Tensor,
    x0_prev: Tensor | None,
    x0_prev2: Tensor | None,
    noise: Tensor | None,
    columns: Tensor,
    clip: Tensor,
    thresholding: Thresholding | None = None,
    thresholded: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance every picture of a batch by one evaluation: the expression in ``models.samplers.table``.

    Args:
        x: samples float32 (B, C, H, W).
        out: what the network said about them, float32, same shape.
        x0_prev, x0_prev2: x0 of one and two evaluations before, same shape, zeros where there was none;
            None where no row of the batch has a coefficient for it.
        noise: standard normal, same shape; None where no row adds noise.
        columns: one table row per picture, float32 (B, len(COLUMNS)).
        clip: float32 (B,), inf for a row that does not clip.
        thresholding: the model's, if any row needs it; ``thresholded`` bool (B,) says which rows.

    Returns: the next samples and the x0 they came from, both float32 (B, C, H, W). A history or noise
    that holds NaN or inf spoils its row even where the coefficient is 0.
    """
    for tensor in (x, out, x0_prev, x0_prev2, noise, columns, clip):
        assert tensor is None or tensor.dtype == torch.float32
    assert columns.shape == (x.shape[0], len(COLUMNS))
    a_x, a_o, e_x, e_o, c_x, c_x0, c_eps, c_prev, c_prev2, c_noise = (
        columns.view(-1, len(COLUMNS), 1, 1, 1).unbind(1)
    )  # fmt: skip
    limit = clip.view(-1, 1, 1, 1)
    x0 = torch.clamp(a_x * x + a_o * out, -limit, limit)
    if thresholding is not None and thresholded is not None:
        x0 = torch.where(thresholded.view(-1, 1, 1, 1), threshold(x0, thresholding), x0)
    # eps is linear in x and out, so it needs no tensor of its own.
    x_next = (c_x + c_eps * e_x) * x + (c_eps * e_o) * out + c_x0 * x0
    if x0_prev is not None:
        x_next = x_next + c_prev * x0_prev
    if x0_prev2 is not None:
        x_next = x_next + c_prev2 * x0_prev2
    if noise is not None:
        x_next = x_next + c_noise * noise
    return x_next, x0


def threshold(x0: Tensor, thresholding: Thresholding) -> Tensor:
    """Dynamic thresholding per picture, Saharia et al. 2022, section 2.3. ``x0`` (B, C, H, W)."""
    spread = torch.quantile(x0.flatten(1).abs(), thresholding.ratio, dim=1)
    spread = spread.clamp(1.0, thresholding.max_value).view(-1, 1, 1, 1)
    return torch.clamp(x0, -spread, spread) / spread
