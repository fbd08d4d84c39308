"""A small classifier of the model's own classes; its last features are what pictures are compared in."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from models.evaluation.data import EvaluationData, Pictures
from models.evaluation.frechet import Features
from models.pictures.source import Labels, Pixels
from models.training.checkpoint import replace_file

CHUNK = 512  # pictures in one forward pass


@dataclass(frozen=True)
class Training:
    """How the classifier is trained. Pictures are moved by up to `shift` pixels, which suits any class, and with
    `flip` mirrored at random."""

    updates: int = 400
    batch: int = 64
    learning_rate: float = 2e-3
    channels: tuple[int, ...] = (24, 48, 96, 96)
    shift: int = 2
    seed: int = 0
    flip: bool = False


TRAININGS = {
    "small": Training(),
    # For photographs, and a GPU: their classes take longer to tell apart than those of drawings.
    "large": Training(updates=6000, batch=256, learning_rate=3e-3, channels=(64, 128, 256, 256), flip=True),
}


class Network(nn.Module):
    """Convolutions that halve the picture at each of `channels`, an average over the rest, one linear layer."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for level, width in enumerate(channels):
            layers += [
                nn.Conv2d(before, width, 3, 2 if level else 1, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if level:
                layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Tensor:
        """(N, D) of pictures float32 (N, 3, H, W) in [-1, 1]."""
        maps: Tensor = self.body(x)
        return maps.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(x))
        return scores


@dataclass(frozen=True)
class Classifier:
    """A trained network. `accuracy` (0 … 1) is that on the held-out pictures; `fingerprint` says what made it."""

    network: Network
    accuracy: float
    fingerprint: str

    @property
    def device(self) -> str:
        """Where the network is, and where distances are best computed."""
        return next(self.network.parameters()).device.type

    @torch.no_grad()
    def read(self, pixels: Pixels) -> tuple[Features, Labels]:
        """Features float64 (N, D) and labels int64 (N,) of pictures uint8 (N, H, W, 3)."""
        features, labels = [], []
        for first in range(0, len(pixels), CHUNK):
            found = self.network.features(_to_input(pixels[first : first + CHUNK]).to(self.device))
            features.append(found.double().cpu())
            labels.append(self.network.head(found).argmax(dim=1).cpu())
        return torch.cat(features).numpy(), torch.cat(labels).numpy()


def classifier_for(
    data: EvaluationData,
    folder: Path,
    training: Training | None = None,
    device: str = "cpu",
    on_update: Callable[[int, int], object] = lambda done, of: None,
) -> Classifier:
    """The classifier that `folder` keeps, or a new one, trained on the training pictures and put there.

    One that was made from other pictures, or in another way, is replaced. `on_update(done, of)` is called
    after every update.
    """
    training = training or Training()
    wanted = fingerprint_of(data, training)
    network = Network(training.channels, len(data.class_names))
    weights, notes = folder / "classifier.safetensors", folder / "classifier.json"
    accuracy = _kept(network, weights, notes, wanted)
    if accuracy is not None:
        return Classifier(network.to(device).eval(), accuracy, wanted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = Network(training.channels, len(data.class_names)).to(device)
        fit(network, data.training, training, on_update)
    trained = Classifier(network.eval(), 0.0, wanted)
    accuracy = float((trained.read(data.held_out.pixels)[1] == data.held_out.labels).mean())
    said = {
        "fingerprint": wanted,
        "held_out_accuracy": accuracy,
        "class_names": data.class_names,
        "training": asdict(training),
        "pictures": data.training_says,
        "held_out": data.held_out_says,
    }
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    replace_file(weights, lambda part: save_file(tensors, part))
    # The notes come last: without them the weights count for nothing.
    replace_file(notes, lambda part: part.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8"))
    return Classifier(network, accuracy, wanted)


def fit(network: Network, pictures: Pictures, training: Training, on_update: Callable[[int, int], object]) -> None:
    """Train in place: cross-entropy, AdamW, one cycle of the rate (Smith and Topin 2018)."""
    device = next(network.parameters()).device
    rng = np.random.default_rng(training.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, training.updates + 1)
    network.train()
    for update in range(training.updates):
        chosen = rng.integers(0, len(pictures), training.batch)
        x = _shifted(_to_input(pictures.pixels[chosen]), rng, training.shift).to(device)
        if training.flip:
            mirrored = torch.from_numpy(rng.random(len(x)) < 0.5).to(device)
            x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
        loss = cross_entropy(network(x), torch.from_numpy(pictures.labels[chosen]).to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
        on_update(update + 1, training.updates)


def fingerprint_of(data: EvaluationData, training: Training) -> str:
    """16 hex digits that change with the pictures and with the way the classifier is trained."""
    how = asdict(training)
    if not training.flip:  # as if there were no such field: a classifier kept from before stays good
        del how["flip"]
    made_of = [data.class_names, data.size, data.training_says, data.held_out_says, how]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def _kept(network: Network, weights: Path, notes: Path, wanted: str) -> float | None:
    """Load what the folder keeps into the network; its accuracy, or None where nothing fits."""
    try:
        said = json.loads(notes.read_text(encoding="utf-8"))
        if said["fingerprint"] != wanted:
            return None
        network.load_state_dict(load_file(weights))
        return float(said["held_out_accuracy"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        return None  # absent or torn: it is cheap to train again


def _to_input(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def _shifted(x: Tensor, rng: np.random.Generator, most: int) -> Tensor:
    height, width = x.shape[2:]
    down, right = rng.integers(0, 2 * most + 1, 2)
    padded = pad(x, (most, most, most, most), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]
