"""The figures of one set of pictures, and how far to trust them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.classifier import Classifier
from models.evaluation.data import EvaluationData, Pictures
from models.evaluation.frechet import Features, Gaussian, frechet_distance, gaussian_of
from models.evaluation.neighbours import Nearest, nearest_pictures, precision_recall
from models.pictures.source import Labels

HALVES = 16  # random halves behind each standard error
MEASURES = ("frechet", "precision", "recall", "class_agreement", "novelty", "near_copies")

Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A set of N pictures as the measures see it: the labels (N,) they should have, features (N, D), whether the
    classifier agrees, and their nearest training pictures."""

    labels: Labels
    features: Features
    agrees: npt.NDArray[np.bool_]
    nearest: Nearest

    def part(self, chosen: npt.NDArray[np.int64]) -> "Measured":
        nearest = Nearest(self.nearest.distance[chosen], self.nearest.place[chosen])
        return Measured(self.labels[chosen], self.features[chosen], self.agrees[chosen], nearest)


@dataclass(frozen=True)
class Reference:
    """What every set is compared with. Its features are those of the training pictures."""

    data: EvaluationData
    classifier: Classifier
    features: Features
    gaussian: Gaussian
    held_out: Measured

    @classmethod
    def of(cls, data: EvaluationData, classifier: Classifier) -> "Reference":
        features, _ = classifier.read(data.training.pixels)
        held_out = _measured(data.held_out, data, classifier)
        return cls(data, classifier, features, gaussian_of(features), held_out)

    def look_at(self, pictures: Pictures) -> Measured:
        """Features, labels and nearest training pictures of some pictures whose labels are those asked for."""
        return _measured(pictures, self.data, self.classifier)

    def figures(self, seen: Measured) -> tuple[Figures, Figures]:
        """Every measure by name, and the standard error of each.

        - frechet: Fréchet distance in classifier features to all training pictures.
        - precision, recall: against as many training pictures as there are pictures in the set.
        - class_agreement: share that the classifier gives the label it should have.
        - novelty: median distance to the nearest training picture, over that of the held-out pictures.
        - near_copies: share nearer to a training picture than 99 % of the held-out pictures; 0.01 is usual.

        The error is the standard deviation over random halves of each class, drawn without replacement. A half
        varies around the whole as much as the whole does around the truth (Shao and Wu 1989, the delete-half
        jackknife); a bootstrap would not do, since doubled pictures have no distance to their neighbour.
        """
        figures = self._figures(seen)
        rng = np.random.default_rng(0)
        drawn = [self._figures(seen.part(half_of(seen.labels, rng))) for _ in range(HALVES)]
        errors = {name: float(np.std([one[name] for one in drawn], ddof=1)) for name in MEASURES}
        return figures, errors

    def _figures(self, seen: Measured) -> Figures:
        precision, recall = precision_recall(
            self.features[: len(seen.features)], seen.features, device=self.classifier.device
        )
        usual = self.held_out.nearest.distance
        distance = seen.nearest.distance
        return {
            "frechet": frechet_distance(gaussian_of(seen.features), self.gaussian),
            "precision": precision,
            "recall": recall,
            "class_agreement": float(seen.agrees.mean()),
            "novelty": float(np.median(distance) / max(np.median(usual), 1e-9)),
            "near_copies": float((distance < np.quantile(usual, 0.01)).mean()),
        }


def half_of(labels: Labels, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Random places of half of the labels (N,), rounded down, and of half of each label as nearly as that goes."""
    shuffled = rng.permutation(len(labels))
    rank = np.empty(len(labels))  # 0 … 1, of a place among the shuffled ones of its label
    for label in np.unique(labels):
        places = shuffled[labels[shuffled] == label]
        rank[places] = (np.arange(len(places)) + 0.5) / len(places)
    half: npt.NDArray[np.int64] = np.lexsort((shuffled, rank))[: len(labels) // 2]
    return half


def _measured(pictures: Pictures, data: EvaluationData, classifier: Classifier) -> Measured:
    features, labels = classifier.read(pictures.pixels)
    return Measured(
        pictures.labels,
        features,
        labels == pictures.labels,
        nearest_pictures(pictures.pixels, data.training.pixels, classifier.device),
    )
