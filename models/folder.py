"""Reading a trained model from a diffusers folder, nested or flat. Nothing is ever unpickled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import CorruptModel, InvalidSampling, ModelNotFound, UnsafeWeights, UnsupportedConfig
from models.noise_schedule import NoiseSchedule
from models.samplers.registry import SAMPLERS
from models.spacing import timesteps_for

WEIGHTS = "diffusion_pytorch_model.safetensors"
EXTRAS = ("class_names", "null_class", "sampler", "steps", "guidance_scale")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class Description:
    """What a folder says about its model, without the weights.

    ``class_names`` is empty for a model without classes; ``null_class`` is the label that stands for
    "no class" in guidance, None where the model was trained without one. ``fingerprint`` is the first
    16 hex digits of a SHA-256 over the weights and everything that decides a picture.
    """

    id: str
    folder: Path
    schedule: NoiseSchedule
    channels: int
    height: int
    width: int
    class_names: tuple[str, ...]
    null_class: int | None
    default_sampler: str
    default_steps: int
    default_guidance_scale: float
    fingerprint: str


@dataclass(frozen=True)
class Model(Description):
    """A model ready to sample: ``network`` is in eval mode, on its device, its parameters frozen.

    It is called as ``network(x, timesteps, class_labels, return_dict=False)[0]`` with x (B, C, H, W) in
    the network's dtype, timesteps int64 (B,), class_labels int64 (B,) or None.
    """

    network: torch.nn.Module


def describe_model(path: Path, *, model_id: str | None = None) -> Description:
    """Read the configs of a model folder and hash its weights, without building the network.

    ``model_id`` None means the folder's name.

    Raises: as ``load_model``, but says nothing about whether the weights fit the config.
    """
    folder = _existing_folder(path)
    network_folder, schedule_file = _layout(folder)
    network_config = _read_json(network_folder / "config.json")
    schedule_config = _read_json(schedule_file)
    extras = _read_json(folder / "unfog.json") if (folder / "unfog.json").exists() else {}
    for key in extras.keys() - EXTRAS:
        raise UnsupportedConfig(key, extras[key], f"unfog.json may hold {', '.join(EXTRAS)}")
    _check_network(network_config)
    schedule = NoiseSchedule.from_config(schedule_config)
    height, width = _size(network_config)
    class_names, null_class = _classes(network_config, extras)
    sampler, steps, guidance = _defaults(schedule, extras, null_class)
    decisive = [network_config, schedule_config, class_names, null_class]
    return Description(
        id=model_id or folder.name,
        folder=folder,
        schedule=schedule,
        channels=network_config["in_channels"],
        height=height,
        width=width,
        class_names=class_names,
        null_class=null_class,
        default_sampler=sampler,
        default_steps=steps,
        default_guidance_scale=guidance,
        fingerprint=_fingerprint(_weights_file(network_folder), decisive),
    )


def load_model(
    path: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, model_id: str | None = None
) -> Model:
    """Load a diffusers folder: ``unet/`` and ``scheduler/`` inside, or both configs at its root.

    Weights are read from safetensors only and converted to ``dtype``, whatever they were stored in.
    ``model_id`` None means the folder's name.

    Raises:
        ModelNotFound: no folder there, or no configs or weights in it.
        UnsafeWeights: the weights are there as pickles only.
        CorruptModel: a file is unreadable, or the weights do not fit the config.
        UnsupportedConfig: a config asks for what is not implemented; names the key.
    """
    described = describe_model(path, model_id=model_id)
    network_folder, _ = _layout(described.folder)
    network = _load_network(network_folder, dtype).to(device)
    return Model(**vars(described), network=network)


def weights_of(folder: Path) -> Path:
    """The file that holds the weights of a model folder. Raises as ``load_model``."""
    network_folder, _ = _layout(folder)
    return _weights_file(network_folder)


def _existing_folder(path: Path) -> Path:
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise ModelNotFound(f"{path} is not a folder; give the path of a diffusers model folder")
    return folder


def _layout(folder: Path) -> tuple[Path, Path]:
    """The folder of the network and the scheduler config; nested wins over flat."""
    network_folder = folder / "unet" if (folder / "unet").is_dir() else folder
    nested = folder / "scheduler" / "scheduler_config.json"
    schedule_file = nested if nested.exists() else folder / "scheduler_config.json"
    for file in (network_folder / "config.json", schedule_file):
        if not file.exists():
            raise ModelNotFound(
                f"{folder} has no {file.relative_to(folder)}; a model folder holds unet/config.json and"
                " scheduler/scheduler_config.json, or config.json and scheduler_config.json"
            )
    return network_folder, schedule_file


def _weights_file(network_folder: Path) -> Path:
    file = network_folder / WEIGHTS
    if file.exists():
        return file
    pickles = sorted(found.name for found in network_folder.iterdir() if is_pickle(found.name))
    if pickles:
        raise UnsafeWeights(
            f"{network_folder} holds only pickled weights ({', '.join(pickles)}), and a pickle can run any"
            " code. If you trust whoever made it, convert it once, outside this service:"
            f" {conversion_command(str(network_folder))}"
        )
    raise ModelNotFound(f"{network_folder} has no {WEIGHTS}")


def is_pickle(file: str) -> bool:
    """Whether a file of that name is one that weights are pickled into."""
    return file.endswith(PICKLES)


def conversion_command(network_folder: str) -> str:
    """The command that writes safetensors beside the pickled weights of a folder."""
    return (
        f"python -c \"from diffusers import UNet2DModel; UNet2DModel.from_pretrained('{network_folder}',"
        f" use_safetensors=False).save_pretrained('{network_folder}')\""
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptModel(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CorruptModel(f"{file} must hold a JSON object")
    return content


def _check_network(config: Mapping[str, Any]) -> None:
    only: dict[str, tuple[object, str]] = {
        "_class_name": ("UNet2DModel", "UNet2DModel is"),
        "time_embedding_type": ("positional", "positional is; the others are for variance-exploding models"),
        "class_embed_type": (None, "null with num_class_embeds is"),
    }
    for key, (value, supported) in only.items():
        if config.get(key, value) != value:
            raise UnsupportedConfig(key, config[key], supported)
    channels = config.get("in_channels")
    if not isinstance(channels, int) or channels < 1:
        raise UnsupportedConfig("in_channels", channels, "it must be a positive number")
    if config.get("out_channels") != channels:
        raise UnsupportedConfig(
            "out_channels",
            config.get("out_channels"),
            f"it must equal in_channels ({channels}); learned variance is not implemented",
        )


def _size(config: Mapping[str, Any]) -> tuple[int, int]:
    size = config.get("sample_size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise UnsupportedConfig("sample_size", size, "it must be a number of pixels, or [height, width]")
    return height, width


def _classes(config: Mapping[str, Any], extras: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    embeddings = config.get("num_class_embeds") or 0
    null_class = extras.get("null_class")
    if null_class is not None and not (isinstance(null_class, int) and 0 <= null_class < embeddings):
        raise UnsupportedConfig("null_class", null_class, f"it must be one of the {embeddings} class labels")
    without_null = embeddings if null_class is None else null_class
    names = extras.get("class_names") or [str(index) for index in range(without_null)]
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        raise UnsupportedConfig("class_names", names, "it must be a list of different names")
    if len(names) > embeddings or (null_class is not None and null_class < len(names)):
        raise UnsupportedConfig(
            "class_names", names, f"the network knows {embeddings} labels, and null_class is none of the names"
        )
    return tuple(str(name) for name in names), null_class


def _defaults(schedule: NoiseSchedule, extras: Mapping[str, Any], null_class: int | None) -> tuple[str, int, float]:
    sampler = extras.get("sampler", "ddim")
    if sampler not in SAMPLERS:
        raise UnsupportedConfig("sampler", sampler, f"use one of {', '.join(SAMPLERS)}")
    steps = extras.get("steps", min(50, schedule.num_train_timesteps))
    try:
        timesteps_for(schedule, steps)
    except InvalidSampling as error:
        raise UnsupportedConfig("steps", steps, str(error)) from error
    guidance = extras.get("guidance_scale", 1.0)
    if isinstance(guidance, bool) or not isinstance(guidance, int | float):
        raise UnsupportedConfig("guidance_scale", guidance, "it must be a number")
    if guidance != 1 and null_class is None:
        raise UnsupportedConfig("guidance_scale", guidance, "guidance needs a null_class")
    return sampler, steps, float(guidance)


def _fingerprint(weights: Path, decisive: object) -> str:
    try:
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise CorruptModel(f"{weights} cannot be read: {error}") from error
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _load_network(network_folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    from diffusers import UNet2DModel

    try:
        network, problems = UNet2DModel.from_pretrained(
            network_folder,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise CorruptModel(f"the network in {network_folder} cannot be loaded: {error}") from error
    for problem, keys in problems.items():
        if keys:
            raise CorruptModel(f"the weights in {network_folder} do not fit its config: {problem} {keys[:3]}")
    assert isinstance(network, torch.nn.Module)
    return network.eval().requires_grad_(False)
