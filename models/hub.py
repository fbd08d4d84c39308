"""A model by the name it is configured with: a folder here, or a repository of the Hugging Face Hub."""

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelNotFound, UnsafeWeights
from models.folder import WEIGHTS, conversion_command, is_pickle

FETCHED = (
    "README.md",
    "model_index.json",
    "unfog.json",
    "quality.json",
    "config.json",
    "scheduler_config.json",
    WEIGHTS,
    "unet/config.json",
    f"unet/{WEIGHTS}",
    "scheduler/scheduler_config.json",
)
"""All that is ever read of a model, in either layout. Nothing else is fetched, so no pickle is."""
_HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w.-]+)(@(?P<revision>.+))?")


@dataclass(frozen=True)
class Found:
    """A model folder on this machine and the id it is served under.

    ``owner`` is the person or organisation it comes from, None for a folder of one's own.
    """

    id: str
    folder: Path
    owner: str | None = None


def find_model(name: str) -> Found:
    """The model called ``name``: the path of a folder, or ``org/name`` or ``org/name@revision`` on the Hub.

    A folder that exists goes before a repository of the same name, and a name that leads into a folder that
    exists is a path. What the Hub has is fetched into its own
    cache (``HF_HOME``), and served from there when the Hub is out of reach; ``HF_ENDPOINT``, ``HF_TOKEN`` and
    ``HF_HUB_OFFLINE`` mean what they mean there.

    Raises:
        ModelNotFound: neither is there, or the Hub cannot be reached and the model was never fetched.
        UnsafeWeights: the repository holds pickled weights only.
    """
    path = Path(name)
    if path.is_dir():
        return Found(path.resolve().name, path)
    match = _HUB_NAME.fullmatch(name)
    if match is None or path.parent.is_dir():
        raise ModelNotFound(
            f"{name} is no model folder here and no name on the Hugging Face Hub; give the path of a diffusers"
            " model folder, or a name such as google/ddpm-cifar10-32, or one with a revision: org/name@revision"
        )
    repository = match["repository"]
    folder = _fetch(name, repository, match["revision"])
    if not (folder / WEIGHTS).exists() and not (folder / "unet" / WEIGHTS).exists():
        _refuse_pickles(name, repository, match["revision"])
    owner, _, model_id = repository.partition("/")
    return Found(model_id, folder, owner)


def _fetch(name: str, repository: str, revision: str | None) -> Path:
    """The folder of a snapshot in the Hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    nowhere = f"there is no folder {name} here, and"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FETCHED)))
    except GatedRepoError as error:
        raise ModelNotFound(
            f"{repository} is gated on the Hub: accept its terms there and set HF_TOKEN to a token of that account"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"{nowhere} no model {repository} on the Hub; if it is private, set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFound(f"{repository} has no revision {revision} on the Hub") from error
    except HFValidationError as error:
        raise ModelNotFound(f"{nowhere} {repository} is no name on the Hub: {error}") from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(
            f"{nowhere} the Hub cannot be reached to fetch {repository}, which is not in its cache either;"
            " connect this machine, set HF_ENDPOINT to a mirror, or give the path of a folder"
        ) from error
    except Exception as error:
        raise ModelNotFound(f"{nowhere} {repository} cannot be fetched from the Hub: {error}") from error


def _refuse_pickles(name: str, repository: str, revision: str | None) -> None:
    """Raise ``UnsafeWeights`` if a repository without safetensors has pickles."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(repository, revision=revision)
    except Exception as error:
        raise ModelNotFound(f"{name} has no {WEIGHTS}") from error
    pickles = [file for file in files if is_pickle(file)]
    if pickles:
        folder = repository.partition("/")[2]
        network = f"{folder}/unet" if any(file.startswith("unet/") for file in pickles) else folder
        raise UnsafeWeights(
            f"{name} holds only pickled weights ({', '.join(pickles)}), and a pickle can run any code. If you"
            f" trust whoever made it, convert it once, outside this service, and serve the folder {folder}:"
            f" hf download {repository} --local-dir {folder}; {conversion_command(network)}"
        )
    raise ModelNotFound(f"{name} has no {WEIGHTS} on the Hub; it is no diffusers model for pictures")
