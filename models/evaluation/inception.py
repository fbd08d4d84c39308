"""The usual FID, in the features of an Inception network, for those who have its weights."""

import importlib.util
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.errors import EvaluationError
from models.pictures.source import Pixels

CHUNK = 32
NOT_ASKED = (
    "Not measured. FID needs the weights of an Inception network, which are published as a pickle only; convert "
    "them to safetensors and give --inception FILE."
)


def load_metric(weights: Path) -> Any:
    """torchmetrics' FrechetInceptionDistance with 2048 features.

    `weights`: those of torch-fidelity's InceptionV3 as safetensors. torch-fidelity itself would fetch and
    unpickle them, which is never done here.

    Raises:
        EvaluationError: a package is missing, or the file does not hold these weights.
    """
    for package in ("torchmetrics", "torch_fidelity"):
        if importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise EvaluationError(f"{name} is not installed (pip install {name})")
    from torchmetrics.image.fid import FrechetInceptionDistance

    try:
        tensors = load_file(weights)
        with patch(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: tensors
        ):
            return FrechetInceptionDistance(feature=2048)
    except ImportError as error:
        raise EvaluationError(f"torch-fidelity cannot be used: {error}") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        why = str(error).partition("\n")[0]
        raise EvaluationError(f"{weights} does not hold torch-fidelity's InceptionV3: {why}") from error


@torch.no_grad()
def fid(metric: Any, a: Pixels, b: Pixels) -> float:
    """FID (Heusel et al. 2017) of two sets of pictures uint8 (N, H, W, 3) by a fresh metric."""
    for pixels, real in ((a, False), (b, True)):
        for first in range(0, len(pixels), CHUNK):
            part = torch.from_numpy(pixels[first : first + CHUNK]).permute(0, 3, 1, 2)
            metric.update(part, real=real)
    return float(metric.compute())
