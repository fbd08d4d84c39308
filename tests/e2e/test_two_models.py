"""Two models of different sizes behind one setting: the drawn cats, and one that was trained on photographs."""

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from models.pictures.folder import FolderSource
from models.training.run import train
from models.training.settings import network_of, preset
from service.redis_server import RedisServer, find_redis_server
from tests.e2e.running import running
from tests.models.photographs import write_archive

pytestmark = pytest.mark.e2e

CATS = Path(__file__).resolve().parents[2] / "models" / "bundled" / "cats-32"


def test_a_model_of_photographs_is_served_beside_the_cats(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs-16"
    source = FolderSource(write_archive(tmp_path / "data.tar.xz") / "train", 16, 0, ("cat",))
    train(preset("cifar10", network=network_of("tiny"), batch=8, steps=2, samples_a_class=1), source, photographs)
    binary = find_redis_server()
    assert binary is not None, "the end-to-end tests need a redis-server"
    settings = {"models": f"{CATS},{photographs}", "torch_threads": "1", "max_batch_places": "8"}
    with (
        RedisServer(binary, tmp_path / "redis") as redis,
        running(redis.url, tmp_path / "service.log", **settings) as service,
    ):
        listed = {model["id"]: model for model in httpx.get(f"{service.url}/v1/models").json()["data"]}
        assert list(listed) == ["cats-32", "photographs-16"]
        assert [listed[name]["width"] for name in listed] == [32, 16]
        assert listed["photographs-16"]["class_names"] == ["cat", "airplane", "dog"]
        for body, size in (
            ({}, 32),
            ({"model": "photographs-16", "class_label": "cat", "guidance_scale": 2}, 16),
            ({"model": "cats-32", "class_label": "siamese"}, 32),
        ):
            answer = service.submit({"steps": 2, "seed": 3, **body}, accept="image/png")
            assert answer.status_code == 200, answer.text
            with Image.open(io.BytesIO(answer.content)) as picture:
                assert picture.size == (size, size)
        unknown = service.submit({"model": "photographs-16", "class_label": "siamese"})
        assert unknown.status_code == 422
        assert "airplane" in unknown.text
