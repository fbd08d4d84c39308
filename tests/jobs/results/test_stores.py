"""What every store of results promises, on a real Redis, in a real folder, and on a real S3-compatible server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretStr

from jobs.connection import connect, connect_async
from jobs.errors import ResultsAway, StoreUnsuitable
from jobs.results.places import Results, is_elsewhere, opened_places, writer_of
from jobs.results.store import ANIMATION, MARGIN_S, ResultFile, ResultWriter
from jobs.settings import Settings
from tests.s3_server import SECRET, S3Server

JOB = "job_" + "0" * 24
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}

Answer = TypeVar("Answer")


class Place:
    """A store by setting: the worker's way to it, and the API's."""

    def __init__(self, redis_url: str, place: str, old: tuple[str, ...] = ()) -> None:
        self.settings = Settings(redis_url=SecretStr(redis_url), result_store=place, old_result_stores=old)
        self.redis = connect(self.settings)
        self.writer: ResultWriter = writer_of(self.settings, self.redis)

    def put(self, **parts: bytes) -> dict[str, str]:
        """Write the files of an execution that are good for an hour; their references."""
        files = [file_of(part.removeprefix("_"), data) for part, data in parts.items()]
        assert self.writer.put(files) == [None] * len(files)
        return {file.part: self.writer.reference(file) for file in files}

    def ask(self, question: Callable[[Results], Awaitable[Answer]]) -> Answer:
        """What the API finds."""

        async def asked() -> Answer:
            redis = connect_async(self.settings)
            try:
                return await question(Results(redis, opened_places(self.settings)))
            finally:
                await redis.aclose()

        return asyncio.run(asked())

    def get(self, reference: str) -> bytes | None:
        return self.ask(lambda results: results.get(reference))

    def close(self) -> None:
        self.redis.close()


def file_of(part: str, data: bytes = b"png", lives_s: float = 3600, execution: str = "e1") -> ResultFile:
    return ResultFile(JOB, execution, part, data, time.time() + lives_s)


@pytest.fixture(params=["redis", "folder", "s3"])
def place(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """One of the three, empty."""
    setting = {"redis": "redis", "folder": f"folder:{tmp_path}/results"}.get(request.param)
    if setting is None:
        server: S3Server = request.getfixturevalue("s3")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        setting = f"{server.place}/{tmp_path.name}"
    with closing(Place(redis_url, setting)) as opened:
        yield opened


def test_what_is_put_is_read_and_every_execution_has_its_own(place: Place) -> None:
    place.writer.require()
    stored = place.put(_0=b"\x89PNG\x00first", _1=b"", animation=b"moving" * 100_000)
    other = file_of("0", b"of another execution", execution="e2")
    assert place.writer.put([other]) == [None]
    assert place.get(stored["0"]) == b"\x89PNG\x00first"
    assert place.get(stored["1"]) == b""
    assert place.get(stored[ANIMATION]) == b"moving" * 100_000
    assert place.get(place.writer.reference(other)) == b"of another execution"
    assert len({*stored.values(), place.writer.reference(other)}) == 4


def test_what_is_deleted_is_gone_and_the_rest_is_not(place: Place) -> None:
    stored = place.put(_0=b"0", _1=b"1", _2=b"2")
    gone = [stored["0"], stored["1"], stored["0"].replace("e1", "e9")]  # the last was never there
    place.ask(lambda results: results.delete(gone))
    assert [place.get(stored[part]) for part in ("0", "1", "2")] == [None, None, b"2"]
    place.ask(lambda results: results.delete(gone))


def test_what_nobody_came_back_for_is_neither_read_nor_kept(place: Place) -> None:
    old, young = file_of("0", lives_s=0.5), file_of("0", execution="e2")
    place.writer.put([old, young])
    references = [place.writer.reference(file) for file in (old, young)]
    in_a_minute = time.time() + MARGIN_S + 1
    if is_elsewhere(references[0]):
        assert place.ask(lambda results: results.sweep(time.time() - 3600)) == 0
        assert place.ask(lambda results: results.sweep(in_a_minute)) == 1
        assert place.ask(lambda results: results.sweep(in_a_minute)) == 0
    else:
        assert 0 < place.redis.pttl(references[0]) <= 1000  # type: ignore[operator]
        place.redis.pexpire(references[0], 1)
        time.sleep(0.01)
    assert [place.get(reference) for reference in references] == [None, b"png"]


def test_a_name_whose_time_has_come_is_not_read_even_before_the_sweep(place: Place) -> None:
    late = file_of("0", lives_s=-120)
    if not is_elsewhere(place.writer.reference(late)):
        late = file_of("0", lives_s=0.5)
    place.writer.put([late])
    time.sleep(0.0 if is_elsewhere(place.writer.reference(late)) else 1.1)
    assert place.get(place.writer.reference(late)) is None


def test_old_results_are_read_and_erased_where_they_lie_after_the_store_was_changed(
    place: Place, redis_url: str, tmp_path: Path
) -> None:
    stored = place.put(_0=b"old")
    with closing(Place(redis_url, f"folder:{tmp_path}/new", (place.settings.result_store,))) as changed:
        new = changed.put(_0=b"new")
        assert changed.get(new["0"]) == b"new"
        assert changed.get(stored["0"]) == b"old"
        changed.ask(lambda results: results.delete([new["0"], stored["0"]]))
        assert [changed.get(new["0"]), changed.get(stored["0"])] == [None, None]


def test_a_result_in_a_store_that_nobody_named_is_not_opened(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of this machine")
    with closing(Place(redis_url, "redis")) as place:
        for reference in (f"folder:{tmp_path}/secret", "s3://theirs/0000000001/a.png"):
            with pytest.raises(ResultsAway, match="UNFOG_OLD_RESULT_STORES"):
                place.get(reference)


@pytest.mark.parametrize(
    "name", ["../secret", "secret", "0000000001/../../secret", "9999999999/..", "%2e%2e/secret"]
)
def test_a_name_that_is_none_of_ours_is_never_opened(redis_url: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("of this machine")
    folder = tmp_path / "results"
    (folder / "9999999999").mkdir(parents=True)
    with closing(Place(redis_url, f"folder:{folder}")) as place:
        assert place.get(f"folder:{folder}/{name}") is None
        place.ask(lambda results: results.delete([f"folder:{folder}/{name}"]))
    assert (tmp_path / "secret").exists()


def test_a_sweep_leaves_alone_what_is_not_ours(redis_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / "holiday").mkdir(parents=True)
    (folder / "holiday" / "photo.png").write_text("mine")
    (folder / "0000000001").mkdir()
    (folder / "0000000001" / "half-written").write_text("by a worker that was killed")
    with closing(Place(redis_url, f"folder:{folder}")) as place:
        assert place.ask(lambda results: results.sweep(time.time())) == 1
    assert [path.name for path in folder.iterdir()] == ["holiday"]


def test_a_folder_that_cannot_be_written_is_told_at_the_start(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with closing(Place(redis_url, f"folder:{tmp_path}/file/results")) as place:
        with pytest.raises(StoreUnsuitable, match="UNFOG_RESULT_STORE"):
            place.writer.require()
        with pytest.raises(ResultsAway):
            place.writer.put([file_of("0")])


def test_an_s3_that_does_not_answer_is_away_for_every_call(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**NOWHERE, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}.items():
        monkeypatch.setenv(name, value)
    with closing(Place(redis_url, "s3://bucket/prefix")) as place:
        reference = place.writer.reference(file_of("0"))
        calls: list[Callable[[], object]] = [
            lambda: place.writer.put([file_of("0")]),
            place.writer.require,
            lambda: place.get(reference),
            lambda: place.ask(lambda results: results.delete([reference])),
            lambda: place.ask(lambda results: results.sweep(time.time())),
        ]
        for call in calls:
            with pytest.raises(ResultsAway) as told:
                call()
            assert SECRET not in str(told.value)
            assert "\n" not in str(told.value)


def test_wrong_keys_are_told_at_the_start_and_never_shown(
    redis_url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**s3.environment, "AWS_SECRET_ACCESS_KEY": "not-the-one"}.items():
        monkeypatch.setenv(name, value)
    with closing(Place(redis_url, s3.place)) as place:
        with pytest.raises(StoreUnsuitable, match="AWS_") as told:
            place.writer.require()
        assert "not-the-one" not in str(told.value)
