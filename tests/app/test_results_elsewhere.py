"""Pictures that lie in a folder: read, away, erased and swept, as callers of the API see it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from app.main import create_app
from jobs.record import JobMeta, StoredAnimation, write_meta
from jobs.results.in_folder import FolderResults
from jobs.results.store import ANIMATION, ResultFile
from jobs.settings import Settings
from tests import cards
from tests.app.answers import problem
from tests.app.test_store_away import away

RED = cards.png((255, 0, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def client(redis: Redis, redis_url: str, folder: Path) -> Iterator[TestClient]:
    cards.announce_both(redis)
    with TestClient(create_app(Settings(redis_url=redis_url, result_store=f"folder:{folder}"))) as one:
        yield one


def finished(client: TestClient, redis: Redis, folder: Path) -> dict[str, Any]:
    """A job whose pictures and animation are in the folder."""
    job: dict[str, Any] = client.post("/v1/jobs", json={"num_images": 2, "animation": True}).json()
    cards.succeed(redis, job["id"], [RED, RED])
    store = FolderResults(f"folder:{folder}", folder)
    files = [ResultFile(job["id"], "e", part, RED, time.time() + 3600) for part in ("0", "1", ANIMATION)]
    store.put(files)
    stored = cards.fetch(redis, job["id"])
    meta = JobMeta.model_validate(stored.meta)
    pictures = tuple(
        picture.model_copy(update={"key": store.reference(file)})
        for picture, file in zip(meta.pictures, files, strict=False)
    )
    animation = StoredAnimation(key=store.reference(files[2]), sha256="0")
    write_meta(redis, stored, meta.model_copy(update={"pictures": pictures, "animation": animation}))
    found: dict[str, Any] = client.get(job["urls"]["self"]).json()
    return found


def paths(job: dict[str, Any]) -> list[str]:
    return [*(image["url"] for image in job["images"]), job["urls"]["animation"]]


def test_pictures_and_animation_are_read_from_the_folder(client: TestClient, redis: Redis, folder: Path) -> None:
    job = finished(client, redis, folder)
    assert [client.get(path).content for path in paths(job)] == [RED] * 3
    assert client.get(job["urls"]["self"], headers={"Accept": "image/png"}).status_code == 200


def test_while_the_folder_is_away_pictures_are_a_503_and_the_job_is_read(
    client: TestClient, redis: Redis, folder: Path
) -> None:
    job = finished(client, redis, folder)
    folder.rename(folder.with_name("elsewhere"))
    for path in paths(job):
        assert "store of the pictures" in away(client.get(path))
    assert client.get(job["urls"]["self"]).json()["status"] == "succeeded"
    folder.with_name("elsewhere").rename(folder)
    assert client.get(paths(job)[0]).content == RED


def test_erasing_removes_the_files_and_then_the_job_is_410(client: TestClient, redis: Redis, folder: Path) -> None:
    job = finished(client, redis, folder)
    assert client.delete(job["urls"]["self"]).status_code == 204
    assert not [path for path in folder.rglob("*") if path.is_file()]
    problem(client.get(job["urls"]["self"]), 410, "job_gone")


def test_what_cannot_be_erased_now_can_be_erased_later(client: TestClient, redis: Redis, folder: Path) -> None:
    job = finished(client, redis, folder)
    minute = next(folder.iterdir())
    hidden = minute.rename(folder.with_name("minute"))
    minute.write_text("no folder any more")
    away(client.delete(job["urls"]["self"]))
    minute.unlink()
    hidden.rename(minute)
    assert client.get(paths(job)[0]).content == RED
    assert client.delete(job["urls"]["self"]).status_code == 204


def test_an_api_sweeps_what_has_expired_when_it_starts(redis: Redis, redis_url: str, folder: Path) -> None:
    store = FolderResults(f"folder:{folder}", folder)
    store.put([ResultFile("job_1", "e", "0", RED, time.time() - 120)])
    with TestClient(create_app(Settings(redis_url=redis_url, old_result_stores=(f"folder:{folder}",)))):
        deadline = time.monotonic() + 20
        while list(folder.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
