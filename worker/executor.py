"""One evaluation of a whole batch, between buffers that never move: gather, forward, guide, update, scatter.

On a CPU its operations are called one by one; on a card the same function is captured once per batch size and
replayed. Knows nothing of who waits or who is next.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
import torch
from torch import Tensor

from models.folder import Model
from models.samplers.table import COLUMNS
from models.samplers.update import update
from worker.device import Device, Work, is_out_of_memory
from worker.flight import Arrival, Flight, Stage
from worker.ladder import Ladder
from worker.places import LABEL, NULL, SCALE, SHOWN, SOURCE, TARGET, TIMESTEP, Places, PlacesWriter
from worker.pool import RowPool
from worker.tables import CLIP, THRESHOLDED, Tables
from worker.tenant import Tenant, places_of

Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(B, C, H, W) float32, (B,) int64 timesteps, (B,) int64 labels or None → (B, C, H, W) float32."""

LEAST_CAPACITY = 2
"""Places that a guided row takes; a smaller batch could not hold one."""

log = structlog.get_logger()


class Executor:
    """Computes batches of the sizes of a ladder. All state is float32; only inside `forward` may it be less."""

    def __init__(
        self, model: Model, forward: Forward, ladder: Ladder, pool: RowPool, tables: Tables, device: Device
    ) -> None:
        self.forward, self.ladder, self.device = forward, ladder, device
        self._model, self._pool = model, pool
        self._capacity = ladder.capacity
        self._writer = PlacesWriter(model, pool, tables)
        self._places = Places(self._capacity, device.torch_device)
        self._finite = torch.zeros(self._capacity, dtype=torch.bool, device=device.torch_device)
        self._noise = torch.zeros_like(pool.noise[: self._capacity])
        self._noise_slots = torch.zeros(self._capacity, dtype=torch.int64, device=device.torch_device)
        self._recorded: dict[int, Work] = {}
        self._stages: list[Stage] = []

    # Before the first tick

    @torch.inference_mode()
    def prepare(self) -> None:
        """Record every size of the ladder, the largest first, which then shares its memory with the others.

        A size for which there is no memory leaves the ladder. Raises `torch.OutOfMemoryError` if too few are left.
        """
        if not self.device.graphs:
            return
        stage = self._stage()
        for size in reversed(self.ladder.sizes):
            self._writer.write(stage.places, (), size, ())
            self._places.take_over(stage.places)
            try:
                self._recorded[size] = self.device.record(partial(self._evaluate, size))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    log.warning("cannot be captured; kernels are launched one by one", reason=str(error))
                    self._recorded.clear()
                    break
                if not self.shorten(size):
                    raise
            else:
                log.info(
                    "batch size recorded", model=self._model.id, size=size, to_go=self.ladder.sizes.index(size)
                )
        self.device.mark()()
        self._stages.append(stage)

    def shorten(self, places: int) -> bool:
        """Never again use the size that `places` are padded to, nor a larger one; False if that cannot be."""
        smaller = self.ladder.below(places)
        if smaller is None or smaller.capacity < LEAST_CAPACITY:
            return False
        log.warning("out of memory; smaller batches from now on", model=self._model.id, places=smaller.capacity)
        self.use(smaller)
        self.device.release_memory()
        return True

    def use(self, ladder: Ladder) -> None:
        """Use these sizes from now on; they are among those of before."""
        self.ladder = ladder
        self._recorded = {size: work for size, work in self._recorded.items() if size in ladder.sizes}

    @torch.inference_mode()
    def outputs(self, rows: Tensor) -> Tensor:
        """What the network says of rows (B, C, H, W), B a size of the ladder, by the way that all batches go.

        For the time before the first row: it writes over the pool, and clears it.
        """
        size, stage = len(rows), self._stage()
        self._writer.write(stage.places, (), size, ())
        stage.places.integers[SOURCE, :size] = stage.places.integers[TARGET, :size] = torch.arange(size)
        stage.places.integers[TIMESTEP, :size] = self._model.schedule.num_train_timesteps // 2
        for name in ("e_o", "c_eps"):  # x' is then the output itself
            stage.places.numbers[:size, COLUMNS.index(name)] = 1.0
        self._pool.sample[:size] = rows
        self._places.take_over(stage.places)
        self._step(size)()
        out = self._pool.sample[:size].clone()
        self._pool.clear()
        self.device.mark()()
        self._stages.append(stage)
        return out

    # Every tick

    def launch(self, tenants: Sequence[Tenant]) -> Flight:
        """Begin an evaluation of rows in the pool, which are a step further from then on.

        Raises `RuntimeError` where the network fails; then no row has changed.
        """
        size = self.ladder.fit(places_of(tenants))
        shown = tuple(tenant for tenant in tenants if tenant.is_shown_next)
        stage = self._stage()
        self._writer.write(stage.places, tenants, size, shown)
        try:
            self._places.take_over(stage.places)
            self._step(size)()
        except RuntimeError:
            self.device.mark()()
            self._stages.append(stage)
            raise
        stage.finite.copy_(self._finite, non_blocking=True)
        if shown:
            seen = pixels_of(self._pool.sample, self._places.integers[SHOWN, : len(shown)])
            stage.pixels[: len(shown)].copy_(seen, non_blocking=True)
        for tenant in tenants:
            tenant.step += 1
        self._draw_ahead(tenants, stage)
        return Flight(tuple(tenants), tuple(t.step for t in tenants), shown, stage, self.device.mark())

    def land(self, flight: Flight) -> list[Arrival]:
        """Wait for a launch and read what came of it; once for each."""
        arrivals = flight.land()
        self._stages.append(flight.stage)
        return arrivals

    def pixels(self, state: Tensor, slots: Sequence[int]) -> list[bytes]:
        """Some rows of a tensor of the pool as height × width × channels uint8; waits for all that is under way."""
        index = torch.tensor(slots, dtype=torch.int64).to(self.device.torch_device)
        return [picture.tobytes() for picture in pixels_of(state, index).cpu().numpy()]

    def _stage(self) -> Stage:
        return (
            self._stages.pop() if self._stages else Stage(self._capacity, self._pool.sample.shape[1:], self.device)
        )

    def _step(self, size: int) -> Work:
        return self._recorded.get(size) or partial(self._evaluate, size)

    def _draw_ahead(self, tenants: Sequence[Tenant], stage: Stage) -> None:
        """Draw the noise of the evaluations to come, while the device computes, and put it beside their rows."""
        drawing = [tenant for tenant in tenants if tenant.draws_noise]
        if not drawing:
            return
        count = len(drawing)
        for place, tenant in zip(stage.noise, drawing, strict=False):
            tenant.draw(place)
        stage.noise_slots.numpy()[:count] = [tenant.slot for tenant in drawing]
        self._noise[:count].copy_(stage.noise[:count], non_blocking=True)
        self._noise_slots[:count].copy_(stage.noise_slots[:count], non_blocking=True)
        self._pool.noise.index_copy_(0, self._noise_slots[:count], self._noise[:count])

    # What is captured: it reads and writes the buffers only, and asks the device nothing

    def _evaluate(self, size: int) -> None:
        pool, target = self._pool, self._places.integers[TARGET, :size]
        source = self._places.integers[SOURCE, :size]
        numbers = self._places.numbers[:size]
        sample, x0_prev = pool.sample.index_select(0, source), pool.x0_prev.index_select(0, source)
        sample, x0 = update(
            sample,
            self._guided(sample, size),
            x0_prev,
            pool.x0_prev2.index_select(0, source),
            pool.noise.index_select(0, source),
            numbers[:, : len(COLUMNS)],
            numbers[:, CLIP],
            thresholding=self._model.schedule.thresholding,
            thresholded=numbers[:, THRESHOLDED] != 0,
        )
        assert sample.dtype == x0.dtype == torch.float32
        pool.sample.index_copy_(0, target, sample)
        pool.x0_prev2.index_copy_(0, target, x0_prev)
        pool.x0_prev.index_copy_(0, target, x0)
        torch.all(sample.isfinite().flatten(1), dim=1, out=self._finite[:size])

    def _guided(self, sample: Tensor, size: int) -> Tensor:
        """The output at each place; if guided, ε_null + w · (ε_label - ε_null) (Ho & Salimans 2022, eq. 6)."""
        integers = self._places.integers
        labels = integers[LABEL, :size] if self._model.class_names else None
        out = self.forward(sample, integers[TIMESTEP, :size], labels)
        assert out.dtype == torch.float32
        null = out.index_select(0, integers[NULL, :size])
        weight = self._places.numbers[:size, SCALE].view(-1, 1, 1, 1)
        return torch.where(weight == 1.0, out, null + weight * (out - null))


def pixels_of(state: Tensor, index: Tensor) -> Tensor:
    """Rows of (N, C, H, W) as (n, H, W, C) uint8: round(clamp(x/2 + 1/2, 0, 1) · 255)."""
    levels = (state.index_select(0, index) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()
