"""Nearest neighbours: precision and recall of samples, and how far samples lie from the training pictures."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.evaluation.frechet import Features

NEIGHBOURS = 3  # k of the manifolds, as Kynkäänniemi et al. 2019 choose it
CHUNK = 1024  # rows of a distance matrix made at once


class Nearest(NamedTuple):
    """For each of N pictures the nearest of another set: float64 (N,) distances and int64 (N,) places."""

    distance: npt.NDArray[np.float64]
    place: npt.NDArray[np.int64]


def precision_recall(
    reference: Features, samples: Features, k: int = NEIGHBOURS, device: str = "cpu"
) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 to 3), each 0 … 1.

    A set's manifold is the union of balls around its vectors, float64 (N, D), that reach to the k-th
    neighbour within the set. Precision: share of samples on the manifold of the reference. Recall: share of
    the reference on the manifold of the samples. Use sets of one size.

    Raises:
        ValueError: a set with k vectors or fewer.
    """
    if min(len(reference), len(samples)) <= k:
        raise ValueError(f"more than {k} vectors in each set are needed, not {len(reference)} and {len(samples)}")
    real, made = torch.from_numpy(reference).to(device), torch.from_numpy(samples).to(device)
    between = torch.cdist(made, real, compute_mode="donot_use_mm_for_euclid_dist")
    precision = (between <= _radii(real, k)[None, :]).any(dim=1).double().mean()
    recall = (between <= _radii(made, k)[:, None]).any(dim=0).double().mean()
    return float(precision), float(recall)


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of each vector to its k-th neighbour in the same set."""
    within = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    return within.kthvalue(k + 1, dim=1).values  # the nearest one is the vector itself


def nearest_pictures(pictures: npt.NDArray[np.uint8], among: npt.NDArray[np.uint8], device: str = "cpu") -> Nearest:
    """For each of uint8 (N, H, W, C) the nearest of uint8 (M, H, W, C), by root mean square difference of levels.

    Distances are 0 … 255; 0 is a copy.

    Raises:
        ValueError: nothing to look among.
    """
    if not len(among):
        raise ValueError("there are no pictures to look among")
    x, y = (torch.from_numpy(p).flatten(1) for p in (pictures, among))
    chunks, there = range(0, len(x), CHUNK), y.to(device)
    places = torch.cat([_nearest_places(x[first : first + CHUNK].to(device).float(), there) for first in chunks])
    places = places.cpu()
    # The search rounds; the distance of the pair it found does not, so a copy is 0 and not nearly 0.
    difference = x.double() - y[places].double()
    return Nearest(difference.square().mean(dim=1).sqrt().numpy(), places.numpy())


def _nearest_places(x: Tensor, among: Tensor) -> Tensor:
    """Row of `among` (uint8) with the least |x - y|² for each row of x (float32)."""
    best = torch.full((len(x),), torch.inf, device=x.device)
    places = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for first in range(0, len(among), CHUNK):
        y = among[first : first + CHUNK].float()
        # |x|² is the same for every y.
        smallest, place = (y.square().sum(dim=1) - 2 * x @ y.T).min(dim=1)
        nearer = smallest < best
        best, places = torch.where(nearer, smallest, best), torch.where(nearer, first + place, places)
    return places
