"""The batch engine of one model: rows of any sampler, step count and seed share every forward pass.

Knows tensors and tables; knows nothing of jobs, Redis, PNG or time.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import InvalidSampling
from models.folder import Model
from models.samplers.update import update
from worker.ladder import Ladder
from worker.pool import RowPool
from worker.row import Preview, RowDone, RowFailed, RowRequest
from worker.scheduler import BatchScheduler
from worker.start import Starts
from worker.tables import Tables
from worker.tenant import Tenant

Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(B, C, H, W) float32, (B,) int64 timesteps, (B,) int64 labels or None → (B, C, H, W) float32."""

LEAST_CAPACITY = 2
"""Places that a guided row takes; a smaller batch could not hold one."""


@dataclass(frozen=True)
class Batch:
    """The rows of one tick. `slots` (R,) are the pool places of the rows, `places` (B,) those of the forward.

    The forward holds the R rows, then the guided rows again with the null label, then padding.
    """

    tenants: tuple[Tenant, ...]
    slots: Tensor
    places: Tensor
    timesteps: Tensor
    labels: Tensor | None
    guided: tuple[int, ...]
    """Which of the R rows are guided, in the order of their second places."""


@dataclass(frozen=True)
class TickReport:
    """What one tick did: the rows it advanced, the places they used, and the rows that left."""

    rows: int
    places: int
    left: tuple[RowDone | RowFailed, ...]


class Engine:
    """Computes the rows of one model, tick by tick.

    All state is float32; only inside `forward` may the network use less.
    """

    def __init__(
        self, model: Model, forward: Forward, ladder: Ladder, pool_rows: int, device: torch.device
    ) -> None:
        self.model = model
        self._forward, self._ladder, self._device = forward, ladder, device
        self._pool = RowPool.allocate(pool_rows, model.channels, model.height, model.width, device)
        self._scheduler: BatchScheduler[RowRequest] = BatchScheduler(ladder.capacity, pool_rows)
        self._starts = Starts(model)
        self._tenants: dict[int, Tenant] = {}
        self._tables = Tables(model.schedule)
        self._refused: list[RowFailed] = []

    @property
    def idle(self) -> bool:
        """Whether a tick would do nothing."""
        return self._scheduler.idle and not self._refused

    def add(self, rows: Iterable[RowRequest]) -> None:
        """Let rows wait; they join between two ticks."""
        for row in rows:
            self._scheduler.add(row)

    def remove(self, key: str) -> None:
        """Drop all rows of one execution; takes effect before the next tick."""
        self._scheduler.drop_waiting(lambda row: row.key == key)
        for slot in [slot for slot, tenant in self._tenants.items() if tenant.request.key == key]:
            self._move_out(slot)

    def completed(self) -> dict[str, int]:
        """Evaluations done so far by the rows in the pool, by execution, counted in places."""
        done: dict[str, int] = {}
        for tenant in self._tenants.values():
            key = tenant.request.key
            done[key] = done.get(key, 0) + tenant.step * tenant.request.places
        return done

    @torch.inference_mode()
    def tick(self) -> TickReport:
        """Advance the chosen rows by one evaluation each."""
        self._admit()
        chosen = self._scheduler.choose()
        places = sum(self._tenants[slot].request.places for slot in chosen)
        left = self._advance(chosen) if chosen else ()
        return TickReport(len(chosen), places, (*self._take_refused(), *left))

    @torch.inference_mode()
    def previews(self, keys: Set[str]) -> tuple[Preview, ...]:
        """What the rows of these executions would be if their last evaluation were right.

        Only rows that have got on since they were last looked at.
        """
        moved = {
            slot: tenant
            for slot, tenant in self._tenants.items()
            if tenant.request.key in keys and tenant.step > tenant.previewed
        }
        # The pool holds the x0 of the last evaluation, as history for those samplers that look back.
        pixels = self._pixels(self._pool.x0_prev, list(moved))
        for tenant in moved.values():
            tenant.previewed = tenant.step
        return tuple(
            Preview(t.request.key, t.request.index, pixels[slot], t.step * t.request.places)
            for slot, t in moved.items()
        )

    def _advance(self, chosen: list[int]) -> tuple[RowDone | RowFailed, ...]:
        """Gather, forward, update, retire. A forward that fails is split until the row to blame is alone."""
        batch = self._gather(chosen)
        try:
            out = self._forward(self._pool.sample[batch.places], batch.timesteps, batch.labels)
        except RuntimeError as error:
            return self._split(chosen, error)
        self._update(batch, self._guide(batch, out))
        return self._retire(batch, chosen)

    def _split(self, chosen: list[int], error: RuntimeError) -> tuple[RowDone | RowFailed, ...]:
        if isinstance(error, torch.OutOfMemoryError):
            self._remember_out_of_memory(chosen)
        if len(chosen) > 1:
            half = len(chosen) // 2
            return (*self._advance(chosen[:half]), *self._advance(chosen[half:]))
        row = self._tenants[chosen[0]].request
        self._move_out(chosen[0])
        out_of_memory = isinstance(error, torch.OutOfMemoryError)
        code = "out_of_memory" if out_of_memory else "engine_error"
        return (RowFailed(row.key, row.index, code, f"the network failed on this picture: {error}"),)

    def _remember_out_of_memory(self, chosen: list[int]) -> None:
        # A batch of this size will not fit the next time either.
        places = sum(self._tenants[slot].request.places for slot in chosen)
        smaller = self._ladder.below(places)
        if smaller is not None and smaller.capacity >= LEAST_CAPACITY:
            self._ladder = smaller
            self._scheduler.capacity = smaller.capacity

    # Admit

    def _admit(self) -> None:
        while self._scheduler.can_admit():
            row, slot = self._scheduler.admit()
            try:
                compiled = self._tables.of(row)
                sample, generator = self._starts.of(row, compiled.table)
            except InvalidSampling as error:
                self._scheduler.release(slot)
                self._refused.append(RowFailed(row.key, row.index, "invalid_sampling", str(error)))
                continue
            tenant = Tenant(row, compiled, generator)
            self._pool.move_in(slot, sample)
            self._tenants[slot] = tenant
            if tenant.keeps_frame:
                tenant.frames.append(self._pixels(self._pool.sample, [slot])[slot])
            self._scheduler.start(slot, row.places, len(compiled.timesteps))

    # Gather

    def _gather(self, chosen: list[int]) -> Batch:
        tenants = tuple(self._tenants[slot] for slot in chosen)
        guided = tuple(n for n, tenant in enumerate(tenants) if tenant.request.places == 2)
        padding = self._ladder.fit(len(chosen) + len(guided)) - len(chosen) - len(guided)
        places = chosen + [chosen[n] for n in guided] + [self._pool.scratch] * padding
        steps = [tenant.compiled.timesteps[tenant.step] for tenant in tenants]
        timesteps = steps + [steps[n] for n in guided] + [0] * padding
        for slot, tenant in zip(chosen, tenants, strict=True):
            if tenant.needs_noise():
                self._pool.noise[slot].copy_(tenant.draw(self._pool.noise.shape[1:]))
        return Batch(
            tenants=tenants,
            slots=self._index(chosen),
            places=self._index(places),
            timesteps=self._index(timesteps),
            labels=self._labels(tenants, guided, padding),
            guided=guided,
        )

    def _labels(self, tenants: tuple[Tenant, ...], guided: tuple[int, ...], padding: int) -> Tensor | None:
        if not self.model.class_names:
            return None
        null = self.model.null_class
        own = [tenant.request.class_label for tenant in tenants]
        assert None not in own
        assert null is not None or not guided
        return self._index([*own, *[null] * len(guided), *[0] * padding])

    def _index(self, values: list[int] | list[int | None]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._device)

    # Forward and update

    def _guide(self, batch: Batch, out: Tensor) -> Tensor:
        """Classifier-free guidance (Ho & Salimans 2022, eq. 6): ε_null + w · (ε_label - ε_null)."""
        rows = len(batch.tenants)
        own = out[:rows]
        if not batch.guided:
            return own
        guided = self._index(list(batch.guided))
        null = out[rows : rows + len(batch.guided)]
        scales = [batch.tenants[n].request.guidance_scale for n in batch.guided]
        weight = torch.tensor(scales, device=self._device).view(-1, 1, 1, 1)
        own = own.clone()
        own[guided] = null + weight * (own[guided] - null)
        return own

    def _update(self, batch: Batch, out: Tensor) -> None:
        pool, slots = self._pool, batch.slots
        columns = torch.stack([t.compiled.columns[t.step] for t in batch.tenants]).to(self._device)
        clip = torch.tensor([t.compiled.clip for t in batch.tenants], device=self._device)
        thresholded = torch.tensor(
            [t.compiled.table.thresholding is not None for t in batch.tenants], device=self._device
        )
        x0_prev = pool.x0_prev[slots]
        sample, x0 = update(
            pool.sample[slots],
            out,
            x0_prev,
            pool.x0_prev2[slots],
            pool.noise[slots],
            columns,
            clip,
            thresholding=self.model.schedule.thresholding,
            thresholded=thresholded,
        )
        assert sample.dtype == x0.dtype == torch.float32
        pool.sample[slots] = sample
        pool.x0_prev2[slots] = x0_prev
        pool.x0_prev[slots] = x0

    # Retire

    def _retire(self, batch: Batch, chosen: list[int]) -> tuple[RowDone | RowFailed, ...]:
        left: list[RowDone | RowFailed] = []
        finite = self._pool.sample[batch.slots].flatten(1).isfinite().all(dim=1).tolist()
        for tenant in batch.tenants:
            tenant.step += 1
        rows = list(zip(chosen, batch.tenants, strict=True))
        pixels = self._pixels(self._pool.sample, [slot for slot, t in rows if t.finished or t.keeps_frame])
        for (slot, tenant), is_finite in zip(rows, finite, strict=True):
            row = tenant.request
            if tenant.keeps_frame:
                tenant.frames.append(pixels[slot])
            if not is_finite:
                detail = f"the picture became NaN or infinite at evaluation {tenant.step}; the model may be broken"
                left.append(RowFailed(row.key, row.index, "not_finite", detail))
            elif tenant.finished:
                left.append(RowDone(row.key, row.index, pixels[slot], b"".join(tenant.frames)))
            else:
                continue
            self._move_out(slot)
        return tuple(left)

    def _pixels(self, state: Tensor, slots: Sequence[int]) -> dict[int, bytes]:
        """Some rows of a tensor of the pool as height × width × channels uint8, by slot."""
        if not slots:
            return {}
        levels = (state[self._index(list(slots))] / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        pictures = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return {slot: picture.tobytes() for slot, picture in zip(slots, pictures, strict=True)}

    def _move_out(self, slot: int) -> None:
        del self._tenants[slot]
        self._scheduler.release(slot)

    def _take_refused(self) -> tuple[RowFailed, ...]:
        refused, self._refused = tuple(self._refused), []
        return refused
