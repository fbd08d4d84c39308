"""One training run: Ho et al. 2020, algorithm 1, from the first picture to the folder that can be served."""

import copy
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import TrainingError
from models.pictures.source import PictureSource
from models.training.board import Board
from models.training.card import Facts
from models.training.checkpoint import disk_full_said, load_checkpoint, save_checkpoint
from models.training.export import Export, export, noise_scheduler
from models.training.feed import Feed
from models.training.hold import claimed, stoppable
from models.training.network import build_network, compiled, convolutions_tried_out, start_from
from models.training.objective import denoising_loss, rate_factor
from models.training.samples import draw_samples, grid
from models.training.settings import Settings
from models.training.state import RunState

LOG_EVERY = 100  # updates between two rows of the loss curve
READ_EVERY = 20  # updates that a GPU is given before it is waited for


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `fraction` of the budget is 0 … 1; `loss` is that of the last update."""

    step: int
    fraction: float
    elapsed_s: float
    pictures_per_s: float
    loss: float


def train(
    settings: Settings,
    source: PictureSource,
    out: Path,
    report: Callable[[Progress], object] = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
    deadline: float = math.inf,
) -> Progress:
    """Train until the budget is spent, until SIGTERM or SIGINT, or until `deadline` by `time.monotonic`, and leave
    a servable folder in `out`.

    A checkpoint in `out` is taken up again, the minutes already spent counted. `report` is called after every
    update, `say` with sentences. Returns where the run ended. Raises TrainingError with what to do.
    """
    with disk_full_said(out), claimed(out) as checkpoint, stoppable() as stop, torch.random.fork_rng():
        run = Run(settings, source, out, checkpoint)
        say(f"{run.parameters:,} parameters on {run.device_name}, {run.precision}, {run.speed_says}.")
        try:
            with convolutions_tried_out():
                return run.go(lambda: stop.is_set() or time.monotonic() > deadline, report)
        finally:
            run.board.close()


class Run:
    """A run in progress. Its randomness is that of torch's global generators and of the feed; a checkpoint keeps
    both."""

    def __init__(self, settings: Settings, source: PictureSource, out: Path, checkpoint: Path) -> None:
        self.settings, self.source, self.out, self.checkpoint = settings, source, out, checkpoint
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classes = len(source.class_names)
        self.data = source.describe()
        torch.manual_seed(settings.seed)
        network = build_network(settings.network, source.size, self.classes)
        if settings.init is not None and not checkpoint.exists():
            start_from(network, settings.init)
        network.to(self.device, memory_format=torch.channels_last)
        self.scheduler = noise_scheduler(settings.prediction_type)
        self.alphas_cumprod: Tensor = self.scheduler.alphas_cumprod.to(self.device, torch.float64)
        self.state = RunState.start(network, settings)
        self.feed = Feed(source, settings, self.device, len(self.alphas_cumprod))
        self.unread: list[Tensor] = []  # losses of the last updates, still on the device
        self.read_every = READ_EVERY if self.device.type == "cuda" else 1
        if checkpoint.exists():
            self._take_up(checkpoint)
        self.predict, self.speed_says = self._quickened(network)
        self.board = Board(checkpoint.parent / "tensorboard", self.state.step)

    @property
    def parameters(self) -> int:
        """How many numbers the network has."""
        return sum(p.numel() for p in self.state.network.parameters())

    @property
    def device_name(self) -> str:
        """The machine, for the card."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name()
        return f"{torch.get_num_threads()} CPU threads ({platform.machine()})"

    @property
    def precision(self) -> str:
        """The numbers inside the network."""
        on_gpu = "bfloat16" if self.device.type == "cuda" else "float32"
        return on_gpu if self.settings.precision == "auto" else self.settings.precision

    def _take_up(self, checkpoint: Path) -> None:
        tensors, saved = load_checkpoint(checkpoint)
        self.settings.check_resume(Settings.from_json(saved["settings"]))
        if saved["data"] != self.data:
            raise TrainingError(
                f"the checkpoint was trained on other pictures: {saved['data']} Now: {self.data} "
                "Give the same ones to go on, or another --out to start anew"
            )
        self.state.unpack(tensors, saved["run"])
        self.feed.go_on(tensors, self.state.step)

    def _quickened(self, network: Any) -> tuple[Any, str]:
        """The network as updates call it, and what was done to it."""
        wanted = self.settings.compile
        if not (self.device.type == "cuda" if wanted is None else wanted):
            return network, "not compiled"

        def try_out(candidate: Any) -> None:
            n, size = self.settings.batch, self.source.size
            x = torch.zeros(n, 3, size, size, device=self.device)
            zeros = torch.zeros(n, dtype=torch.int64, device=self.device)
            out = self._call(candidate, x, zeros, zeros if self.classes else None)
            out.float().square().mean().backward()  # type: ignore[no-untyped-call]
            network.zero_grad(set_to_none=True)

        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout must not move the run's own randomness
            return compiled(network, try_out)

    def _call(self, network: Any, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            laid = x.contiguous(memory_format=torch.channels_last)
            out: Tensor = network(laid, t, class_labels=labels, return_dict=False)[0]
        return out

    def go(self, over: Callable[[], bool], report: Callable[[Progress], object]) -> Progress:
        """Update until the budget is spent or `over` says so, save every now and then and at the end."""
        state, before, first = self.state, self.state.elapsed_s, self.state.step
        started = saved = time.monotonic()
        rate, loss = 0.0, math.nan
        while self.fraction() < 1 and not over():
            self.update()
            now = time.monotonic()
            state.elapsed_s = before + now - started
            rate = (state.step - first) * self.settings.batch / (now - started)
            if len(self.unread) >= self.read_every or self.fraction() >= 1:
                loss = self.read(rate)
            report(Progress(state.step, self.fraction(), state.elapsed_s, rate, loss))
            if now - saved >= self.settings.checkpoint_every_s and self.fraction() < 1:
                self.save()
                saved = time.monotonic()
        self.save()
        return Progress(state.step, self.fraction(), state.elapsed_s, rate, loss)

    def fraction(self) -> float:
        """Share of the budget that is used up, 0 … 1."""
        s = self.settings
        spent = self.state.step / s.steps if s.steps else self.state.elapsed_s / (60 * (s.minutes or math.inf))
        return min(1.0, spent)

    def update(self) -> None:
        """One update of the weights. On a GPU it is queued; its loss waits among the unread ones."""
        s, state = self.settings, self.state
        factor = rate_factor(self.fraction(), state.step, s.warmup_steps, s.constant_rate)
        for group in state.optimizer.param_groups:
            group["lr"] = s.learning_rate * factor
        batch = self.feed.take(state.step)
        self.feed.begin(state.step + 1)  # before this update, so that its costs arrive while this one is computed

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return self._call(self.predict, x, t, batch.labels)

        loss = denoising_loss(
            predict, batch.x0, batch.noise, batch.timesteps, self.alphas_cumprod, s.prediction_type, s.min_snr_gamma
        )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), s.clip_norm)
        state.optimizer.step()
        state.ema.step(state.network.parameters())
        state.step += 1
        self.unread.append(loss.detach())

    def read(self, rate: float = 0.0) -> float:
        """Wait for the losses not yet read, and put them into the curve; the last one.

        Raises TrainingError if one is not finite; its update is in the weights, which are then not saved.
        """
        if not self.unread:
            return math.nan
        first = self.state.step - len(self.unread)
        losses: list[float] = torch.stack(self.unread).tolist()
        self.unread = []
        for step, loss in enumerate(losses, first + 1):
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is no longer finite at update {step}; use a lower --learning-rate")
            self._log(step, loss, rate)
        return losses[-1]

    def _log(self, step: int, loss: float, rate: float) -> None:
        state = self.state
        state.pending.append(loss)
        if len(state.pending) >= LOG_EVERY or (self.fraction() >= 1 and step == state.step):
            mean = sum(state.pending) / len(state.pending)
            state.curve.append((step, state.elapsed_s, mean))
            state.pending = []
            self.board.scalars(step, loss=mean, pictures_per_s=rate)

    def save(self) -> None:
        """Write the checkpoint, then the servable folder with the averaged weights."""
        self.read()
        tensors, counters = self.state.pack()
        tensors |= self.feed.pack()
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
        return Facts(
            name=self.out.resolve().name,
            settings=self.settings,
            data=self.data,
            class_names=self.source.class_names,
            size=self.source.size,
            parameters=self.parameters,
            step=self.state.step,
            elapsed_s=self.state.elapsed_s,
            device=self.device_name,
            speed=f"{self.precision}, {self.speed_says}",
            curve=self.state.curve,
            finished=self.fraction() >= 1,
            samples=samples,
        )
