"""One training run: Ho et al. 2020, algorithm 1, from the first picture to the exported folder."""

import copy
import fcntl
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.pictures.source import PictureSource
from models.training.board import Board
from models.training.card import Facts
from models.training.checkpoint import load_checkpoint, save_checkpoint
from models.training.export import Model, export, noise_scheduler
from models.training.network import build_network
from models.training.objective import denoising_loss, rate_factor
from models.training.samples import draw_samples, grid
from models.training.settings import Settings, TrainingError
from models.training.state import RunState

LOG_EVERY = 100  # updates between two rows of the loss curve
SAMPLES_A_CLASS = 4


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `fraction` of the budget is 0 … 1."""

    step: int
    fraction: float
    elapsed_s: float
    pictures_per_s: float
    loss: float


@contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """The folder for checkpoints, held by this process alone. The hold ends with the process, however it ends."""
    folder = out / "training"
    checkpoint = folder / "checkpoint.safetensors"
    if out.exists() and any(out.iterdir()) and not folder.exists():
        raise TrainingError(f"{out} is not empty and holds no checkpoint; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"another run trains into {out}; stop it or choose another --out") from error
        yield checkpoint


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, so that a run ends after the update it is at."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Run:
    """A run in progress. `train` is the way in."""

    def __init__(self, settings: Settings, source: PictureSource, out: Path, checkpoint: Path) -> None:
        self.settings, self.source, self.out, self.checkpoint = settings, source, out, checkpoint
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classes = len(source.class_names)
        torch.manual_seed(settings.seed)
        network = build_network(settings.network, source.size, self.classes).to(self.device)
        self.state = RunState.start(network, settings)
        if checkpoint.exists():
            tensors, state = load_checkpoint(checkpoint)
            settings.check_resume(Settings.from_json(state["settings"]))
            self.state.unpack(tensors, state["run"])
        self.predict = torch.compile(network) if settings.compile else network
        self.scheduler = noise_scheduler(settings.prediction_type)
        self.alphas_cumprod = self.scheduler.alphas_cumprod.to(self.device, torch.float64)
        flipped = [name in settings.flip or "all" in settings.flip for name in source.class_names or ("all",)]
        self.flips = torch.tensor(flipped, device=self.device)
        self.board = Board(checkpoint.parent / "tensorboard", self.state.step)

    def fraction(self) -> float:
        """Share of the budget that is used up, 0 … 1."""
        s = self.settings
        spent = self.state.step / s.steps if s.steps else self.state.elapsed_s / (60 * (s.minutes or 1))
        return min(1.0, spent)

    def _batch(self) -> tuple[Tensor, Tensor | None]:
        """The next pictures, float32 (N, 3, H, W) in [-1, 1], and their labels, some replaced by the null label."""
        n = self.settings.batch
        pixels, labels = self.source.take(self.state.step * n, n)
        x0 = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        y = torch.from_numpy(labels).to(self.device)
        if bool(self.flips.any()):
            mirrored = (torch.rand(n, device=self.device) < 0.5) & self.flips[y]
            x0 = torch.where(mirrored.view(-1, 1, 1, 1), x0.flip(3), x0)
        if not self.classes:
            return x0, None
        dropped = torch.rand(n, device=self.device) < self.settings.label_dropout
        return x0, torch.where(dropped, self.classes, y)

    def update(self) -> float:
        """One update of the weights; returns its loss."""
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
        state.optimizer.step()
        state.ema.step(state.network.parameters())
        state.step += 1
        return loss.item()

    def log(self, loss: float, rate: float) -> None:
        state = self.state
        state.pending.append(loss)
        if state.step % LOG_EVERY == 0:
            self._close_row(rate)

    def _close_row(self, rate: float) -> None:
        state = self.state
        if state.pending:
            mean = sum(state.pending) / len(state.pending)
            state.curve.append((state.step, state.elapsed_s, mean))
            state.pending = []
            self.board.scalars(state.step, loss=mean, pictures_per_s=rate)

    def save(self, finished: bool) -> None:
        """Write the checkpoint, then the servable folder with the averaged weights."""
        state, s = self.state, self.settings
        if finished:
            self._close_row(0.0)
        tensors, run = state.pack()
        save_checkpoint(self.checkpoint, tensors, {"settings": s.to_json(), "run": run})
        averaged = copy.deepcopy(state.network).eval()
        state.ema.copy_to(averaged.parameters())
        if s.half_weights:
            averaged = averaged.half().float()
        per_class = SAMPLES_A_CLASS * (2 if finished else 1)
        labels = [label for label in range(max(1, self.classes)) for _ in range(per_class)]
        guidance = s.guidance_scale if finished else 1.0
        null = self.classes if self.classes else None
        config = dict(self.scheduler.config)
        pictures = draw_samples(averaged, config, labels, 50 if finished else 20, guidance, null)
        sheet = grid(pictures, per_class)
        self.board.image(state.step, sheet)
        facts = Facts(
            name=self.out.resolve().name,
            settings=s,
            data=self.source.describe(),
            class_names=self.source.class_names,
            size=self.source.size,
            parameters=sum(p.numel() for p in state.network.parameters()),
            step=state.step,
            elapsed_s=state.elapsed_s,
            device=torch.cuda.get_device_name() if self.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads ({platform.machine()})",
            curve=state.curve,
            finished=finished,
        )
        model = Model(averaged, self.scheduler, self.source.class_names, s.guidance_scale, s.half_weights)
        export(self.out, model, sheet, facts)


def train(
    settings: Settings, source: PictureSource, out: Path, report: Callable[[Progress], Any] = lambda _: None
) -> Progress:
    """Train until the budget is spent, or until SIGTERM or SIGINT, and leave a servable folder in `out`.

    A checkpoint in `out` is taken up again, the minutes already spent counted. `report` is called after every
    update. Returns where the run ended. Raises TrainingError with what to do.
    """
    with _claimed(out) as checkpoint, _stoppable() as stop, torch.random.fork_rng():
        run = Run(settings, source, out, checkpoint)
        try:
            return _loop(run, stop, report)
        finally:
            run.board.close()


def _loop(run: Run, stop: threading.Event, report: Callable[[Progress], Any]) -> Progress:
    state, started, first = run.state, time.monotonic(), run.state.step
    before = state.elapsed_s
    saved = started
    progress = Progress(state.step, run.fraction(), before, 0.0, float("nan"))
    while run.fraction() < 1 and not stop.is_set():
        loss = run.update()
        now = time.monotonic()
        state.elapsed_s = before + now - started
        rate = (state.step - first) * run.settings.batch / (now - started)
        if loss != loss:
            raise TrainingError(f"the loss is not a number at update {state.step}; use a lower --learning-rate")
        run.log(loss, rate)
        progress = Progress(state.step, run.fraction(), state.elapsed_s, rate, loss)
        report(progress)
        if now - saved > run.settings.checkpoint_every_s:
            run.save(finished=False)
            saved = time.monotonic()
    run.save(finished=run.fraction() >= 1)
    return progress
