"""A launch on its way: what it was told, what comes back, and when."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worker.device import Device, Work
from worker.places import Places
from worker.tenant import Tenant


class Stage:
    """Memory of the host for one launch: what it is told, what comes back, and the noise drawn meanwhile.

    Pinned where there is a card. It belongs to one flight at a time, so nothing is written over that is still
    to be copied.
    """

    def __init__(self, capacity: int, shape: Sequence[int], device: Device) -> None:
        channels, height, width = shape
        pinned = device.pinned
        self.places = Places(capacity, torch.device("cpu"), pinned)
        self.finite = torch.zeros(capacity, dtype=torch.bool, pin_memory=pinned)
        self.pixels = torch.zeros((capacity, height, width, channels), dtype=torch.uint8, pin_memory=pinned)
        self.noise = torch.zeros((capacity, *shape), dtype=torch.float32, pin_memory=pinned)
        self.noise_slots = torch.zeros(capacity, dtype=torch.int64, pin_memory=pinned)


@dataclass(frozen=True)
class Arrival:
    """What one evaluation made of a row: after `step` evaluations it is finite or not.

    `pixels` is height × width × channels uint8, None where nobody is to see them.
    """

    tenant: Tenant
    step: int
    finite: bool
    pixels: bytes | None


@dataclass(frozen=True)
class Flight:
    """The rows of a launch, how far they are after it, and those of them that are to be seen."""

    tenants: tuple[Tenant, ...]
    steps: tuple[int, ...]
    shown: tuple[Tenant, ...]
    stage: Stage
    wait: Work

    def land(self) -> list[Arrival]:
        """Wait for it, and read what came back."""
        self.wait()
        finite = self.stage.finite[: len(self.tenants)].tolist()
        pixels = {id(t): self.stage.pixels[n].numpy().tobytes() for n, t in enumerate(self.shown)}
        return [
            Arrival(tenant, step, is_finite, pixels.get(id(tenant)))
            for tenant, step, is_finite in zip(self.tenants, self.steps, finite, strict=True)
        ]
