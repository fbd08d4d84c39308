"""Batches: the same whatever was made ahead, with noise assigned to pictures where that is wanted."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from models.pictures.folder import FolderSource
from models.pictures.source import CatSource, PictureSource
from models.training.feed import Batch, Feed
from models.training.pairing import best_pairs, pairing_costs
from models.training.settings import preset
from tests.models.photographs import write_archive


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FolderSource:
    return FolderSource(write_archive(tmp_path_factory.mktemp("data") / "photographs.tar.xz") / "train", 16)


def _feed(source: PictureSource, **changes: object) -> Feed:
    settings = preset("tiny", **{"batch": 8, "flip": ("all",), **changes})
    return Feed(source, settings, torch.device("cpu"), 1000)


def _same(a: Batch, b: Batch) -> bool:
    pairs = ((a.x0, b.x0), (a.labels, b.labels), (a.noise, b.noise), (a.timesteps, b.timesteps))
    return all(torch.equal(x, y) for x, y in pairs if x is not None and y is not None)


@pytest.mark.parametrize("paired", [False, True])
def test_a_feed_goes_on_from_a_checkpoint_with_the_batch_that_was_made_ahead(
    source: FolderSource, paired: bool
) -> None:
    feed = _feed(source, pair_noise=paired)
    undisturbed = [feed.take(step) for step in range(6)]
    stopped = _feed(source, pair_noise=paired)
    for step in range(3):
        assert _same(stopped.take(step), undisturbed[step])
        stopped.begin(step + 1)
    resumed = _feed(source, pair_noise=paired)
    resumed.go_on(stopped.pack(), 3)
    assert all(_same(resumed.take(step), undisturbed[step]) for step in range(3, 6))


def test_a_checkpoint_of_another_kind_of_device_goes_on_with_the_same_pictures(source: FolderSource) -> None:
    feed, other = _feed(source, flip=()), _feed(source, flip=())
    other.go_on({"rng.feed.cuda": torch.zeros(16, dtype=torch.uint8)}, 2)
    for step in range(3):
        mine = feed.take(step)
    assert torch.equal(other.take(2).x0, mine.x0)


def test_held_pictures_give_the_batches_that_a_source_gives(source: FolderSource) -> None:
    class Plain:
        class_names, size, describe, take = source.class_names, source.size, source.describe, source.take

    assert _same(_feed(source).take(5 - 5), _feed(Plain()).take(0))
    assert _feed(CatSource()).take(0).x0.shape == (8, 3, 32, 32)


def test_the_assignment_is_the_best_of_all() -> None:
    generator = torch.Generator().manual_seed(3)
    x0, noise = (torch.randn(6, 3, 4, 4, generator=generator) for _ in range(2))
    distances = torch.cdist(x0.flatten(1), noise.flatten(1)).square()
    found = best_pairs(pairing_costs(x0, noise).numpy())
    rows = np.arange(6)
    least = min(float(distances[rows, list(order)].sum()) for order in itertools.permutations(range(6)))
    assert float(distances[rows, found].sum()) == pytest.approx(least, rel=1e-5)


def test_paired_noise_is_the_same_noise_in_another_order_and_nearer(source: FolderSource) -> None:
    plain, paired = _feed(source).take(0), _feed(source, pair_noise=True).take(0)
    assert torch.equal(plain.x0, paired.x0)
    assert torch.equal(plain.noise.flatten(1).sum(1).sort().values, paired.noise.flatten(1).sum(1).sort().values)
    assert (paired.x0 - paired.noise).square().sum() < (plain.x0 - plain.noise).square().sum()


def test_every_picture_of_an_epoch_comes_once_from_the_device(source: FolderSource, tmp_path: Path) -> None:
    feed = _feed(source, batch=12, flip=(), label_dropout=0.0)
    seen = torch.cat([feed.take(step).x0 for step in range(3)])
    everything = torch.from_numpy(source.pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert {p.numpy().tobytes() for p in seen} == {p.numpy().tobytes() for p in everything.contiguous()}
