"""The batch engine of one model: rows of any sampler, step count and seed share every forward pass.

Knows who is in the pool and how far; knows nothing of jobs, Redis, PNG or time.
"""

from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import InvalidSampling
from models.folder import Model
from worker.device import Device, device_of, is_out_of_memory
from worker.executor import Executor, Forward, pixels_of
from worker.flight import Arrival, Flight
from worker.ladder import Ladder
from worker.pool import RowPool
from worker.row import Preview, RowDone, RowFailed, RowRequest
from worker.scheduler import BatchScheduler
from worker.start import Starts
from worker.tables import Tables
from worker.tenant import Tenant, places_of

__all__ = ["Engine", "Forward", "TickReport"]


@dataclass(frozen=True)
class TickReport:
    """What one tick did: the rows it advanced, the places they used, and the rows that left."""

    rows: int
    places: int
    left: tuple[RowDone | RowFailed, ...]


class Engine:
    """Computes the rows of one model, tick by tick.

    On a card a tick is launched before the one before it is read, so a row leaves one tick after its last
    evaluation, and is computed once more than needed before it is found to be NaN.
    """

    def __init__(
        self, model: Model, forward: Forward, ladder: Ladder, pool_rows: int, device: torch.device | Device
    ) -> None:
        if isinstance(device, torch.device):
            device = device_of(device)
        self.model = model
        shape = model.channels, model.height, model.width
        # A batch of the largest size has to fit, for the check before the first row.
        self._pool = RowPool.allocate(max(pool_rows, ladder.capacity), *shape, device.torch_device)
        self._tables = Tables(model.schedule, pool_rows)
        self.executor = Executor(model, forward, ladder, self._pool, self._tables, device)
        self._scheduler: BatchScheduler[RowRequest] = BatchScheduler(ladder.sizes, pool_rows)
        self._starts = Starts(model)
        self._tenants: dict[int, Tenant] = {}
        self._under_way: deque[Flight] = deque()
        self._left: list[RowDone | RowFailed] = []

    def prepare(self) -> None:
        """Record the batch sizes where the device can; before the first row. Raises `torch.OutOfMemoryError`."""
        self.executor.prepare()
        self._scheduler.use(self.executor.ladder.sizes)

    def use(self, ladder: Ladder, quick: int | None = None) -> None:
        """Use only these of the batch sizes, and ticks as small as `quick` places; before the first row."""
        self.executor.use(ladder)
        self._scheduler.use(ladder.sizes, quick)

    @property
    def idle(self) -> bool:
        """Whether a tick would do nothing."""
        return self._scheduler.idle and not self._left

    def add(self, rows: Iterable[RowRequest]) -> None:
        """Let rows wait; they join between two ticks."""
        for row in rows:
            self._scheduler.add(row)

    def remove(self, key: str) -> None:
        """Drop all rows of one execution; takes effect before the next tick."""
        self._scheduler.drop_waiting(lambda row: row.key == key)
        for tenant in [tenant for tenant in self._tenants.values() if tenant.request.key == key]:
            self._move_out(tenant)

    def completed(self) -> dict[str, int]:
        """Evaluations done or under way of the rows in the pool, by execution, counted in places."""
        done: dict[str, int] = {}
        for tenant in self._tenants.values():
            key = tenant.request.key
            done[key] = done.get(key, 0) + tenant.step * tenant.request.places
        return done

    @torch.inference_mode()
    def tick(self) -> TickReport:
        """Advance the chosen rows by one evaluation each."""
        self._admit()
        chosen = [self._tenants[slot] for slot in self._scheduler.choose()]
        if chosen:
            self._advance(chosen)
        self._retire(under_way=self.executor.device.lag if chosen else 0)
        return TickReport(len(chosen), places_of(chosen), self._take_left())

    @torch.inference_mode()
    def previews(self, keys: Set[str]) -> tuple[Preview, ...]:
        """What the rows of these executions would be if their last evaluation were right.

        Only rows that have got on since they were last looked at.
        """
        moved = [t for t in self._tenants.values() if t.request.key in keys and t.step > t.previewed]
        if not moved:
            return ()
        # The pool holds the x0 of the last evaluation, as history for those samplers that look back.
        pixels = self.executor.pixels(self._pool.x0_prev, [tenant.slot for tenant in moved])
        for tenant in moved:
            tenant.previewed = tenant.step
        return tuple(
            Preview(t.request.key, t.request.index, shown, t.step * t.request.places)
            for t, shown in zip(moved, pixels, strict=True)
        )

    # Admit

    def _admit(self) -> None:
        while self._scheduler.can_admit():
            row, slot = self._scheduler.admit()
            try:
                compiled = self._tables.of(row)
                start, generator = self._starts.of(row, compiled.table)
            except InvalidSampling as error:
                self._scheduler.release(slot)
                self._left.append(RowFailed(row.key, row.index, "invalid_sampling", str(error)))
                continue
            self._move_in(Tenant(row, slot, compiled, generator), start)

    def _move_in(self, tenant: Tenant, start: Tensor) -> None:
        if tenant.keeps_frame(0):
            tenant.frames.append(pixels_of(start[None], torch.tensor([0])).numpy().tobytes())
        noise = tenant.draw(torch.empty_like(start)) if tenant.draws_noise else None
        self._pool.move_in(tenant.slot, start, noise)
        tenant.compiled.users += 1
        self._tenants[tenant.slot] = tenant
        self._scheduler.start(tenant.slot, tenant.request.places, tenant.compiled.evaluations)

    # Advance

    def _advance(self, chosen: list[Tenant]) -> None:
        """Gather, forward, update. A forward that fails is split until the row to blame is alone."""
        if places_of(chosen) > self._scheduler.capacity:
            # Memory ran out a moment ago, and the batches of this tick were chosen before.
            self._halve(chosen)
            return
        try:
            self._under_way.append(self.executor.launch(chosen))
        except torch.AcceleratorError:
            # The card itself has failed, and no row is to blame: this process ends, and the jobs start again.
            raise
        except RuntimeError as error:
            self._blame(chosen, error)

    def _blame(self, chosen: list[Tenant], error: RuntimeError) -> None:
        out_of_memory = is_out_of_memory(error)
        if out_of_memory and self.executor.shorten(places_of(chosen)):
            # A batch of this size will not fit the next time either.
            self._scheduler.use(self.executor.ladder.sizes)
        if len(chosen) > 1:
            self._halve(chosen)
        else:
            code = "out_of_memory" if out_of_memory else "engine_error"
            self._fail(chosen[0], code, f"the network failed on this picture: {error}")

    def _halve(self, chosen: list[Tenant]) -> None:
        half = len(chosen) // 2
        self._advance(chosen[:half])
        self._advance(chosen[half:])

    # Retire

    def _retire(self, under_way: int) -> None:
        """Read what has been computed, but for the last `under_way` launches."""
        while len(self._under_way) > under_way:
            for arrival in self.executor.land(self._under_way.popleft()):
                if self._tenants.get(arrival.tenant.slot) is arrival.tenant:
                    self._receive(arrival)

    def _receive(self, arrival: Arrival) -> None:
        tenant, row = arrival.tenant, arrival.tenant.request
        if not arrival.finite:
            detail = f"the picture became NaN or infinite at evaluation {arrival.step}; the model may be broken"
            self._fail(tenant, "not_finite", detail)
            return
        if arrival.pixels is not None and tenant.keeps_frame(arrival.step):
            tenant.frames.append(arrival.pixels)
        if arrival.step == tenant.compiled.evaluations:
            assert arrival.pixels is not None
            self._left.append(RowDone(row.key, row.index, arrival.pixels, b"".join(tenant.frames)))
            self._move_out(tenant)

    def _fail(self, tenant: Tenant, code: str, detail: str) -> None:
        self._left.append(RowFailed(tenant.request.key, tenant.request.index, code, detail))
        self._move_out(tenant)

    def _move_out(self, tenant: Tenant) -> None:
        del self._tenants[tenant.slot]
        tenant.compiled.users -= 1
        self._scheduler.release(tenant.slot)

    def _take_left(self) -> tuple[RowDone | RowFailed, ...]:
        left, self._left = tuple(self._left), []
        return left
