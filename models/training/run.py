"""One training run: Ho et al. 2020, algorithm 1, from the first picture to the folder that can be served."""

import copy
import math
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.errors import TrainingError
from models.pictures.source import PictureSource
from models.training.board import Board
from models.training.card import Facts
from models.training.checkpoint import disk_full_said, load_checkpoint, save_checkpoint
from models.training.export import Export, export, noise_scheduler
from models.training.hold import claimed, stoppable
from models.training.network import build_network, start_from
from models.training.objective import denoising_loss, rate_factor
from models.training.samples import draw_samples, grid
from models.training.settings import Settings
from models.training.state import RunState

LOG_EVERY = 100  # updates between two rows of the loss curve


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `fraction` of the budget is 0 … 1; `loss` is that of the last update."""

    step: int
    fraction: float
    elapsed_s: float
    pictures_per_s: float
    loss: float


def train(
    settings: Settings, source: PictureSource, out: Path, report: Callable[[Progress], object] = lambda _: None
) -> Progress:
    """Train until the budget is spent, or until SIGTERM or SIGINT, and leave a servable folder in `out`.

    A checkpoint in `out` is taken up again, the minutes already spent counted. `report` is called after every
    update. Returns where the run ended. Raises TrainingError with what to do.
    """
    with disk_full_said(out), claimed(out) as checkpoint, stoppable() as stop, torch.random.fork_rng():
        run = Run(settings, source, out, checkpoint)
        try:
            return run.go(stop, report)
        finally:
            run.board.close()


class Run:
    """A run in progress. All randomness comes from torch's global generators, which the checkpoint keeps."""

    def __init__(self, settings: Settings, source: PictureSource, out: Path, checkpoint: Path) -> None:
        self.settings, self.source, self.out, self.checkpoint = settings, source, out, checkpoint
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classes = len(source.class_names)
        self.data = source.describe()
        torch.manual_seed(settings.seed)
        network = build_network(settings.network, source.size, self.classes)
        if settings.init is not None and not checkpoint.exists():
            start_from(network, settings.init)
        network.to(self.device)
        self.state = RunState.start(network, settings)
        if checkpoint.exists():
            self._take_up(checkpoint)
        self.predict = torch.compile(network) if settings.compile else network
        self.scheduler = noise_scheduler(settings.prediction_type)
        self.alphas_cumprod: Tensor = self.scheduler.alphas_cumprod.to(self.device, torch.float64)
        self.flips = torch.tensor(settings.flips(source.class_names), device=self.device)
        self.board = Board(checkpoint.parent / "tensorboard", self.state.step)

    def _take_up(self, checkpoint: Path) -> None:
        tensors, saved = load_checkpoint(checkpoint)
        self.settings.check_resume(Settings.from_json(saved["settings"]))
        if saved["data"] != self.data:
            raise TrainingError(
                f"the checkpoint was trained on other pictures: {saved['data']} Now: {self.data} "
                "Give the same ones to go on, or another --out to start anew"
            )
        self.state.unpack(tensors, saved["run"])

    def go(self, stop: threading.Event, report: Callable[[Progress], object]) -> Progress:
        """Update until the budget is spent or `stop` is set, save every now and then and at the end."""
        state, before, first = self.state, self.state.elapsed_s, self.state.step
        started = saved = time.monotonic()
        rate, loss = 0.0, math.nan
        while self.fraction() < 1 and not stop.is_set():
            loss = self.update()
            now = time.monotonic()
            state.elapsed_s = before + now - started
            rate = (state.step - first) * self.settings.batch / (now - started)
            self._log(loss, rate)
            report(Progress(state.step, self.fraction(), state.elapsed_s, rate, loss))
            if now - saved >= self.settings.checkpoint_every_s:
                self.save()
                saved = time.monotonic()
        self.save()
        return Progress(state.step, self.fraction(), state.elapsed_s, rate, loss)

    def fraction(self) -> float:
        """Share of the budget that is used up, 0 … 1."""
        s = self.settings
        spent = self.state.step / s.steps if s.steps else self.state.elapsed_s / (60 * (s.minutes or math.inf))
        return min(1.0, spent)

    def update(self) -> float:
        """One update of the weights; returns its loss. Raises TrainingError if that is not finite."""
        s, state = self.settings, self.state
        factor = rate_factor(self.fraction(), state.step, s.warmup_steps, s.constant_rate)
        for group in state.optimizer.param_groups:
            group["lr"] = s.learning_rate * factor
        x0, labels = self._batch()
        noise = torch.randn(x0.shape, device=self.device)
        timesteps = torch.randint(0, len(self.alphas_cumprod), (len(x0),), device=self.device)

        def predict(x: Tensor, t: Tensor) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=s.precision == "bfloat16"):
                out: Tensor = self.predict(x, t, class_labels=labels, return_dict=False)[0]
            return out

        loss = denoising_loss(
            predict, x0, noise, timesteps, self.alphas_cumprod, s.prediction_type, s.min_snr_gamma
        )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), s.clip_norm)
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss is no longer finite at update {state.step}; use a lower --learning-rate")
        state.optimizer.step()
        state.ema.step(state.network.parameters())
        state.step += 1
        return loss.item()

    def _batch(self) -> tuple[Tensor, Tensor | None]:
        """The next pictures, float32 (N, 3, H, W) in [-1, 1], and their labels, some of them made null."""
        n = self.settings.batch
        pixels, numbers = self.source.take(self.state.step * n, n)
        x0 = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        labels = torch.from_numpy(numbers).to(self.device)
        if self.flips.any():
            mirrored = (torch.rand(n, device=self.device) < 0.5) & self.flips[labels]
            x0 = torch.where(mirrored.view(-1, 1, 1, 1), x0.flip(3), x0)
        if not self.classes:
            return x0, None
        dropped = torch.rand(n, device=self.device) < self.settings.label_dropout
        return x0, torch.where(dropped, self.classes, labels)

    def _log(self, loss: float, rate: float) -> None:
        state = self.state
        state.pending.append(loss)
        if len(state.pending) >= LOG_EVERY or self.fraction() >= 1:
            mean = sum(state.pending) / len(state.pending)
            state.curve.append((state.step, state.elapsed_s, mean))
            state.pending = []
            self.board.scalars(state.step, loss=mean, pictures_per_s=rate)

    def save(self) -> None:
        """Write the checkpoint, then the servable folder with the averaged weights."""
        tensors, counters = self.state.pack()
        saved = {"settings": self.settings.to_json(), "data": self.data, "run": counters}
        save_checkpoint(self.checkpoint, tensors, saved)
        s, names = self.settings, self.source.class_names
        averaged = copy.deepcopy(self.state.network).eval()
        self.state.ema.copy_to(averaged.parameters())
        # Fewer pictures and steps on the way: they cost as much time as updates do.
        few = max(1, s.samples_a_class // 3)
        each, steps, guidance = (
            (s.samples_a_class, 50, s.guidance_scale) if self.fraction() >= 1 else (few, 20, 1.0)
        )
        labels = [label for label in range(max(1, self.classes)) for _ in range(each)]
        null = self.classes if self.classes else None
        sheet = grid(draw_samples(averaged, self.scheduler.config, labels, steps, guidance, null), columns=each)
        self.board.image(self.state.step, sheet)
        note = f"DDIM, {steps} steps, guidance {guidance:g}" if names else f"DDIM, {steps} steps"
        export(self.out, Export(averaged, self.scheduler, s, names), sheet, self._facts(note))

    def _facts(self, samples: str) -> Facts:
        cpu = f"{torch.get_num_threads()} CPU threads ({platform.machine()})"
        return Facts(
            name=self.out.resolve().name,
            settings=self.settings,
            data=self.data,
            class_names=self.source.class_names,
            size=self.source.size,
            parameters=sum(p.numel() for p in self.state.network.parameters()),
            step=self.state.step,
            elapsed_s=self.state.elapsed_s,
            device=torch.cuda.get_device_name() if self.device.type == "cuda" else cpu,
            curve=self.state.curve,
            finished=self.fraction() >= 1,
            samples=samples,
        )
