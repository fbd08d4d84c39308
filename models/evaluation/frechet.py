"""The Fréchet distance between two sets of feature vectors."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Features = Floats  # (N, D)


class Gaussian(NamedTuple):
    """Mean (D,) and covariance (D, D)."""

    mean: Floats
    covariance: Floats


def gaussian_of(features: Features) -> Gaussian:
    """Mean and sample covariance of float64 (N, D).

    Raises:
        ValueError: fewer than two vectors.
    """
    if len(features) < 2:
        raise ValueError(f"at least two vectors are needed, not {len(features)}")
    return Gaussian(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μa - μb|² + tr(A + B - 2 (A B)^½), with A and B the covariances.

    The squared 2-Wasserstein distance of two Gaussians (Dowson and Landau 1982), as Heusel et al. 2017,
    equation 6, use it. Estimated from N vectors it grows as N falls, by about as much for any set: compare at
    equal N.
    """
    difference = a.mean - b.mean
    # tr (A B)^½ = tr (A^½ B A^½)^½, whose argument is symmetric: no complex roots to throw away.
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(min=0)).sum()
    return float(difference @ difference + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)
