"""The client against the real API on a socket, with keys and limits, and no worker."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis
from typer.testing import CliRunner

import unfog
from jobs.api_keys import make_key
from jobs.settings import Settings
from tests import cards
from tests.app.serving import Served, serving
from tests.e2e.running import free_port
from unfog import AsyncClient, Client, Done, Snapshot, cli
from unfog.terminal import ExitCode

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        cards.announce_both(client)
        yield client


@pytest.fixture
def api(redis: Redis, redis_url: str) -> Iterator[Served]:
    with serving(Settings(redis_url=redis_url)) as served:
        yield served


def caller(redis: Redis, api: Served, name: str, *scopes: str) -> Client:
    """A client with a new key."""
    return Client(api.url, make_key(redis, name, scopes or ("submit", "read"))[1])


def test_a_key_opens_what_its_scopes_say_and_no_one_elses_jobs(redis: Redis, api: Served) -> None:
    with (
        caller(redis, api, "anna") as anna,
        caller(redis, api, "ben") as ben,
        caller(redis, api, "eye", "read") as eye,
    ):
        job = anna.submit(steps=5, metadata={"wall": "north"})
        assert anna.job(job.id).metadata == {"wall": "north"}
        for call in (ben.job, ben.cancel, ben.delete, ben.image, lambda job_id: list(ben.events(job_id))):
            with pytest.raises(unfog.NotFound):
                call(job.id)
        assert list(ben.jobs()) == list(eye.jobs()) == []
        assert [mine.id for mine in anna.jobs()] == [job.id]
        with pytest.raises(unfog.Forbidden) as forbidden:
            eye.submit(steps=5)
        assert forbidden.value.request_id
        with pytest.raises(unfog.Forbidden):
            anna.stats()
        with caller(redis, api, "boss", "admin") as boss:
            assert boss.stats().queued_jobs == 1
    with Client(api.url) as nobody, pytest.raises(unfog.Unauthorized):
        nobody.models()


def test_the_commands_say_that_a_key_is_needed(redis: Redis, api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(redis, "anna", ("read",))[1]
    done = CliRunner().invoke(cli.build(), ["models", "--url", api.url])
    assert done.exit_code == ExitCode.KEY
    monkeypatch.setenv("UNFOG_API_KEY", key)
    listed = CliRunner().invoke(cli.build(), ["models", "--url", api.url])
    assert listed.exit_code == 0, listed.stderr
    drawn = CliRunner().invoke(cli.build(), ["generate", "--url", api.url])
    assert drawn.exit_code == ExitCode.KEY
    assert key not in drawn.output + listed.output + done.output


def test_a_queued_job_is_followed_canceled_and_erased(api: Served) -> None:
    with Client(api.url) as client:
        first, second = client.submit(steps=5), client.submit(steps=5)
        events = client.events(second)
        snapshot = next(events)
        assert isinstance(snapshot, Snapshot)
        assert snapshot.job.progress.queue_position == 2
        assert client.cancel(second).status == "canceled"
        assert [type(event).__name__ for event in events][-1] == "Done"
        with pytest.raises(unfog.WaitTimeout):
            client.wait(first, timeout_s=0.2)
        told = client.delete(first)
        assert told is not None
        assert told.status == "canceled"
        assert client.delete(first) is None
        with pytest.raises(unfog.Gone):
            client.wait(first)
        with pytest.raises(unfog.JobCanceled):
            client.pictures(second.id)


def test_jobs_are_listed_over_pages_by_both_clients(api: Served) -> None:
    async def listed() -> list[str]:
        async with AsyncClient(api.url) as client:
            return [job.id async for job in client.jobs(status="queued", page_size=2)]

    with Client(api.url) as client:
        ids = [client.submit(steps=1).id for _ in range(5)]
        assert [job.id for job in client.jobs(page_size=2)] == asyncio.run(listed()) == ids[::-1]
        with pytest.raises(unfog.RequestRefused, match="status"):
            list(client.jobs(status="happy"))


def test_a_full_queue_says_when_to_come_again(redis: Redis, redis_url: str) -> None:
    with (
        serving(Settings(redis_url=redis_url, max_queued_evaluations=10)) as api,
        Client(api.url, retry_limit_s=0) as client,
    ):
        client.submit(steps=8)
        with pytest.raises(unfog.QueueFull) as full:
            client.submit(steps=8)
        assert full.value.retry_after_s is not None
        assert full.value.retry_after_s >= 1


def test_a_stream_goes_on_when_the_api_has_started_anew(redis: Redis, redis_url: str) -> None:
    settings, port = Settings(redis_url=redis_url), free_port()
    with Client(f"http://127.0.0.1:{port}") as client:
        with serving(settings, port):
            job = client.submit(steps=5)
            events = client.events(job)
            assert isinstance(next(events), Snapshot)
        with serving(settings, port):
            assert isinstance(next(events), Snapshot)
            client.cancel(job)
            assert isinstance(list(events)[-1], Done)
