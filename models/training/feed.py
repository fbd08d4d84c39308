"""What an update is given: pictures, labels, noise and timesteps, made on the device that trains.

A source that holds its pictures in memory is copied to the device once, as bytes; an epoch then needs only the
order, and mirroring, dropped labels and noise are made there. Other sources are asked for each batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.pictures.folder import FolderSource
from models.pictures.source import PictureSource
from models.training.pairing import Pairing
from models.training.settings import Settings

OTHER_SEED = 0x9E3779B9  # so that the noise is not that of the first weights


@dataclass(frozen=True)
class Batch:
    """x0, noise: float32 (N, 3, H, W), x0 in [-1, 1]; labels int64 (N,), some of them null, or None; timesteps
    int64 (N,)."""

    x0: Tensor
    labels: Tensor | None
    noise: Tensor
    timesteps: Tensor


class Feed:
    """Batches by number of the update. All that is random in them comes from one generator, whose state belongs
    to a checkpoint."""

    def __init__(self, source: PictureSource, settings: Settings, device: torch.device, timesteps: int) -> None:
        self._source, self._settings, self._device, self._timesteps = source, settings, device, timesteps
        self._classes = len(source.class_names)
        flips = settings.flips(source.class_names)
        # Asked here and not of the tensor, which would make every update wait for the device.
        self._mirrors, self._flips = any(flips), torch.tensor(flips, device=device)
        self._generator = torch.Generator(device).manual_seed(settings.seed ^ OTHER_SEED)
        self._ahead: tuple[int, Tensor, Callable[[], Batch]] | None = None
        self._held: tuple[Tensor, Tensor] | None = None
        if isinstance(source, FolderSource):
            pixels = torch.from_numpy(source.pixels).permute(0, 3, 1, 2).contiguous()
            self._held = pixels.to(device), torch.from_numpy(source.labels).to(device)

    def go_on(self, tensors: dict[str, Tensor], step: int) -> None:
        """Take over what `pack` gave, at an update. From another kind of device the pictures go on in their order,
        with other noise."""
        self._ahead = None
        state = tensors.get(self._name)
        if state is None:
            self._generator.manual_seed((self._settings.seed ^ OTHER_SEED) + step)
        else:
            self._generator.set_state(state)

    def pack(self) -> dict[str, Tensor]:
        """The generator for a checkpoint, as it was before the batch that is already under way."""
        return {self._name: self._generator.get_state() if self._ahead is None else self._ahead[1]}

    @property
    def _name(self) -> str:
        return f"rng.feed.{self._device.type}"

    def begin(self, step: int) -> None:
        """Start to make the batch of an update, if it is not under way: queued on the device, not waited for."""
        if self._ahead is None:
            state = self._generator.get_state()
            self._ahead = (step, state, self._begin(step))
        assert self._ahead[0] == step, "batches are made in order"

    def take(self, step: int) -> Batch:
        """The batch of an update."""
        self.begin(step)
        assert self._ahead is not None
        finish = self._ahead[2]
        self._ahead = None
        return finish()

    def _begin(self, step: int) -> Callable[[], Batch]:
        n, device, generator = self._settings.batch, self._device, self._generator
        pixels, labels = self._pictures(step * n, n)
        x0 = pixels.float() / 127.5 - 1
        if self._mirrors:
            mirrored = (torch.rand(n, device=device, generator=generator) < 0.5) & self._flips[labels]
            x0 = torch.where(mirrored.view(-1, 1, 1, 1), x0.flip(3), x0)
        given: Tensor | None = None
        if self._classes:
            dropped = torch.rand(n, device=device, generator=generator) < self._settings.label_dropout
            given = torch.where(dropped, self._classes, labels)
        noise = torch.randn(x0.shape, device=device, generator=generator)
        timesteps = torch.randint(0, self._timesteps, (n,), device=device, generator=generator)
        if not self._settings.pair_noise:
            return lambda: Batch(x0, given, noise, timesteps)
        pairing = Pairing(x0, noise)
        return lambda: Batch(x0, given, noise[pairing.places()], timesteps)

    def _pictures(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """uint8 (count, 3, H, W) and int64 (count,) on the device."""
        if self._held is not None:
            assert isinstance(self._source, FolderSource)
            places = torch.from_numpy(self._source.places(start, count)).to(self._device, non_blocking=True)
            return self._held[0][places], self._held[1][places]
        taken, numbers = self._source.take(start, count)
        pixels = torch.from_numpy(taken).to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        return pixels, torch.from_numpy(numbers).to(self._device, non_blocking=True)
