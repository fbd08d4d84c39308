"""A tiny model, and the service with its peers on it, started once."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.gpu_parts.setup import TINY, write_model
from bench.targets import Service, side_by_side


@pytest.fixture(scope="package")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a class-conditional network that computes in a millisecond."""
    return write_model(tmp_path_factory.mktemp("bench") / "tiny", TINY, classes=True)


@pytest.fixture(scope="package")
def services(tiny: Path) -> Iterator[dict[str, Service]]:
    """Ours and all the peers that are installed."""
    peers = ["rq_loop", "static_batches"]
    if importlib.util.find_spec("litserve") is not None:
        peers.append("litserve")
    with side_by_side(peers, tiny) as up:
        yield up
