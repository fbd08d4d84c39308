"""Distances and shares on sets whose answers are known."""

import numpy as np
import pytest
import torch

from models.evaluation.classifier import Classifier, Network
from models.evaluation.data import EvaluationData, Pictures
from models.evaluation.frechet import Gaussian, frechet_distance, gaussian_of
from models.evaluation.measures import Reference, half_of
from models.evaluation.neighbours import nearest_pictures, precision_recall


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _points(count: int, places: int = 3) -> np.ndarray:
    return _rng().standard_normal((count, places))


def test_the_frechet_distance_of_gaussians_that_share_axes_is_the_closed_form() -> None:
    a = Gaussian(np.array([1.0, -2.0, 0.5]), np.diag([4.0, 0.25, 1.0]))
    b = Gaussian(np.array([0.0, 1.0, 0.5]), np.diag([1.0, 2.25, 0.0]))
    closed = 1 + 9 + (2 - 1) ** 2 + (0.5 - 1.5) ** 2 + 1
    assert frechet_distance(a, b) == pytest.approx(closed)
    turn, _ = np.linalg.qr(_rng().standard_normal((3, 3)))
    turned = [Gaussian(turn @ g.mean, turn @ g.covariance @ turn.T) for g in (a, b)]
    assert frechet_distance(*turned) == pytest.approx(closed)


def test_the_frechet_distance_agrees_with_the_matrix_square_root_where_axes_differ() -> None:
    mixings = [_rng().standard_normal((4, 4)), np.triu(np.ones((4, 4)))]
    A, B = (m @ m.T for m in mixings)
    values = np.linalg.eigvals(A @ B)
    expected = np.trace(A) + np.trace(B) - 2 * np.sqrt(values.real).sum()
    assert frechet_distance(Gaussian(np.zeros(4), A), Gaussian(np.zeros(4), B)) == pytest.approx(expected)


def test_a_set_is_at_no_distance_from_itself_and_a_shift_counts_squared() -> None:
    a = _points(50)
    assert frechet_distance(gaussian_of(a), gaussian_of(a)) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(gaussian_of(a), gaussian_of(a + np.array([3, 0, 4]))) == pytest.approx(25)


def test_precision_counts_samples_off_the_data_and_recall_the_data_they_miss() -> None:
    here, there = _points(40), _points(40) + 1000
    assert precision_recall(here, here) == (1.0, 1.0)
    assert precision_recall(here, there) == (0.0, 0.0)
    both = np.concatenate([here, there])
    assert precision_recall(here, both) == (0.5, 1.0), "half of the samples lie off the data"
    assert precision_recall(both, here) == (1.0, 0.5), "half of the data is never reached"


def test_samples_that_are_all_alike_have_no_recall() -> None:
    data = _points(40)
    precision, recall = precision_recall(data, np.repeat(data[:1], 40, axis=0))
    assert precision == 1
    assert recall == 1 / 40


def test_sets_too_small_for_their_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 3"):
        precision_recall(_points(3), _points(10))
    with pytest.raises(ValueError, match="at least two"):
        gaussian_of(_points(1))


def test_the_nearest_picture_is_found_and_a_copy_is_at_distance_nought() -> None:
    among = _rng().integers(0, 256, (2500, 4, 4, 3)).astype(np.uint8)
    changed = among[[2300, 5]].copy()
    changed[1, 0, 0, 0] ^= 128
    found = nearest_pictures(changed, among)
    assert found.place.tolist() == [2300, 5]
    assert found.distance[0] == 0
    assert found.distance[1] == pytest.approx(128 / 48**0.5)


def _two_classes(count: int, seed: int) -> Pictures:
    """Dark and bright pictures in turn."""
    labels = np.arange(count) % 2
    levels = np.random.default_rng(seed).integers(0, 120, (count, 4, 4, 3)) + 120 * labels[:, None, None, None]
    return Pictures(levels.astype(np.uint8), labels)


def _reference() -> tuple[Reference, Pictures]:
    """An untrained network to look at pictures, and fresh ones for it."""
    training, held_out, fresh = (_two_classes(200, seed) for seed in (101, 102, 103))
    data = EvaluationData(("dark", "bright"), 4, training, held_out, "training", "held out")
    torch.manual_seed(0)
    return Reference.of(data, Classifier(Network((8, 8), 2).eval(), 0.5, "none")), fresh


def test_fresh_pictures_stand_like_held_out_ones_and_copies_are_seen() -> None:
    reference, fresh = _reference()
    usual, _ = reference.figures(reference.look_at(fresh))
    assert usual["novelty"] == pytest.approx(1, abs=0.05)
    assert usual["near_copies"] < 0.1
    copied, _ = reference.figures(reference.look_at(reference.data.training))
    assert (copied["novelty"], copied["near_copies"], copied["precision"], copied["recall"]) == (0, 1, 1, 1)
    assert copied["frechet"] == pytest.approx(0, abs=1e-9)


def test_a_half_is_half_of_every_class() -> None:
    labels = np.array([0] * 9 + [1] * 4 + [2])
    halves = [half_of(labels, np.random.default_rng(seed)) for seed in range(50)]
    assert {len(set(half.tolist())) for half in halves} == {7}
    counts = np.array([np.bincount(labels[half], minlength=3) for half in halves])
    assert (counts[:, 0] >= 4).all()
    assert (counts[:, 1] >= 2).all()
    assert len({tuple(sorted(half.tolist())) for half in halves}) > 40


def test_the_standard_error_is_the_spread_over_fresh_sets() -> None:
    reference, _ = _reference()
    sets = [reference.figures(reference.look_at(_two_classes(100, seed))) for seed in range(40)]
    for name in ("frechet", "precision", "recall", "novelty"):
        spread = np.std([figures[name] for figures, _ in sets], ddof=1)
        said = np.mean([errors[name] for _, errors in sets])
        assert 0.5 * spread < said < 2 * spread, name
