"""A job is followed to its end, whatever becomes of the connections, and its pictures are what was drawn."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import unfog
from tests.unfog.calling import KINDS, URL, Calls
from tests.unfog.scripted import PNG, Pieces, Script, answer, event, job, problem, stream
from unfog import AsyncClient, Client, Done, Preview, Progress, Progressed, Snapshot
from unfog.generated import Generated
from unfog.reading import read

pytestmark = pytest.mark.usefixtures("no_pauses")

Kind = Callable[..., Any]
CUT = httpx.RemoteProtocolError("peer closed connection without sending complete message body")
SILENT = httpx.ReadTimeout("timed out")

QUEUED, RUNNING = event("snapshot", job("queued")), event("snapshot", job("running"))
DONE = event("done", job("succeeded"))


def progress(completed: int, status: str = "running") -> bytes:
    return event("progress", {"completed": completed, "total": 50, "fraction": completed / 50, "status": status})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One of the two clients."""
    made: Kind = request.param
    return made


def test_events_are_typed_and_end_with_the_job(kind: Kind) -> None:
    preview = event("preview", {"index": 1, "completed": 20, "image": "data:image/png;base64,iVBORw=="})
    later = event("confetti", {"anything": 1})
    script = Script(stream(QUEUED, b": keep-alive\n\n", progress(10)[:9], progress(10)[9:] + preview + later, DONE))
    told = Calls(kind, script).events("job_1")
    assert [type(each) for each in told] == [Snapshot, Progressed, Preview, Done]
    assert told[0].job.queue_position == 3
    assert told[1] == Progressed(Progress(10, 50, 0.2, "running"))
    assert told[2] == Preview(1, 20, b"\x89PNG")
    assert told[3].job.images[0].seed == 7
    assert script.asked[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("end", [CUT, SILENT, b""], ids=["cut", "silent", "closed"])
def test_a_stream_that_ends_before_the_job_is_opened_again(kind: Kind, end: Any) -> None:
    pieces = (RUNNING, progress(10), end) if end else (RUNNING, progress(10))
    script = Script(stream(*pieces), answer(200, job("running")), stream(RUNNING, DONE))
    told = Calls(kind, script).events("job_1")
    assert [type(each) for each in told] == [Snapshot, Progressed, Snapshot, Done]
    assert script.lines == ["GET /v1/jobs/job_1/events", "GET /v1/jobs/job_1", "GET /v1/jobs/job_1/events"]


def test_the_end_is_learned_though_a_proxy_keeps_the_stream_to_itself(kind: Kind) -> None:
    script = Script(stream(SILENT), answer(200, job("running")), stream(SILENT), answer(200, job("succeeded")))
    assert [type(each) for each in Calls(kind, script).events("job_1")] == [Done]


def test_a_service_that_starts_anew_is_waited_for(kind: Kind) -> None:
    away = httpx.ConnectError("refused")
    script = Script(
        stream(RUNNING, CUT), away, answer(503, problem("store_unavailable")), away, answer(200, job("queued")),
        away, stream(QUEUED, DONE),
    )  # fmt: skip
    assert Calls(kind, script).wait("job_1").status == "succeeded"
    assert script.used_up


def test_a_service_that_stays_away_is_an_error(kind: Kind) -> None:
    script = Script(stream(RUNNING, CUT), *[httpx.ConnectError("refused")] * 3)
    with pytest.raises(unfog.ConnectionFailed, match="refused"):
        Calls(kind, script, retries=2).wait("job_1")
    assert script.used_up


def test_waiting_tells_what_changes_and_gives_the_job(kind: Kind) -> None:
    preview = event("preview", {"index": 0, "completed": 20, "image": "data:image/png;base64,iVBORw=="})
    script = Script(stream(QUEUED, progress(0), progress(10), progress(10), preview, DONE))
    seen: list[Progress] = []
    previews: list[Preview] = []
    told = Calls(kind, script).wait("job_1", on_progress=seen.append, on_preview=previews.append)
    assert told.status == "succeeded"
    assert [(each.status, each.completed) for each in seen] == [
        ("queued", 0),
        ("running", 0),
        ("running", 10),
        ("succeeded", 50),
    ]
    assert [each.png for each in previews] == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("failed", unfog.JobFailed, r"^job job_1 failed: it came out as NaN \(not_finite\)$"),
        ("canceled", unfog.JobCanceled, "^job job_1 was canceled$"),
    ],
)
def test_a_job_that_ends_without_a_picture_is_an_error_that_has_it(
    kind: Kind, status: str, error: type[unfog.JobEnded], message: str
) -> None:
    for call in ("wait", "pictures"):
        with pytest.raises(error, match=message) as raised:
            getattr(Calls(kind, Script(stream(RUNNING, event("done", job(status))))), call)("job_1")
        assert raised.value.job.status == status


def test_a_job_that_is_known_to_have_ended_is_not_asked_for(kind: Kind) -> None:
    ended = read(unfog.Job, job("succeeded"))
    assert Calls(kind, Script()).wait(ended) is ended


def test_a_callbacks_own_error_reaches_the_caller_and_is_no_reason_to_go_on(kind: Kind) -> None:
    def failing(_: Progress) -> None:
        raise unfog.ConnectionFailed("of the callback's own network")

    with pytest.raises(unfog.ConnectionFailed, match="own network"):
        Calls(kind, Script(stream(RUNNING, DONE))).wait("job_1", on_progress=failing)


def test_a_callback_for_asyncio_may_be_a_coroutine_function() -> None:
    seen = []

    async def look(now: Progress) -> None:
        await asyncio.sleep(0)
        seen.append(now.status)

    Calls(AsyncClient, Script(stream(RUNNING, DONE))).wait("job_1", on_progress=look)
    assert seen == ["running", "succeeded"]


class Clock:
    """A clock that goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1
        return self.now_s


def test_a_wait_that_takes_too_long_ends_with_the_job_as_it_is(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unfog.flows.time", Clock())
    pieces = Pieces(RUNNING, *[b": keep-alive\n\n"] * 1000)
    script = Script(answer(200, pieces), answer(200, job("running")))
    with pytest.raises(unfog.WaitTimeout, match=r"^job job_1 is still running after 20 s; it goes on$") as raised:
        Calls(kind, script).wait("job_1", timeout_s=20)
    assert raised.value.job.progress.completed == 10
    assert pieces.closed
    assert script.asked[0].extensions["timeout"]["read"] <= 20, "silence is borne no longer than that"


def test_a_job_that_ends_at_the_last_moment_is_no_timeout(kind: Kind) -> None:
    script = Script(stream(RUNNING, SILENT), answer(200, job("succeeded")))
    assert Calls(kind, script).wait("job_1", timeout_s=0).status == "succeeded"


def test_a_wait_does_not_outlast_its_time_by_pausing(kind: Kind) -> None:
    script = Script(answer(503, problem("store_full"), retry_after="30"))
    with pytest.raises(unfog.ServiceUnavailable):
        Calls(kind, script).wait("job_1", timeout_s=5)


def test_generate_submits_waits_and_fetches(kind: Kind) -> None:
    script = Script(answer(202, job()), stream(QUEUED, DONE), answer(200, PNG))
    made = Calls(kind, script).generate(sampler="ddim", steps=50)
    assert made.pngs == (PNG,)
    assert made.animation is None
    assert script.lines == ["POST /v1/jobs", "GET /v1/jobs/job_1/events", "GET /v1/jobs/job_1/images/0.png"]
    assert b"preview" not in script.asked[0].content


def test_previews_are_asked_for_if_somebody_wants_them(kind: Kind) -> None:
    for fields, sent in (({}, True), ({"preview": False}, False)):
        script = Script(answer(202, job()), stream(DONE), answer(200, PNG))
        Calls(kind, script).generate(on_preview=print, **fields)
        assert (b'"preview":true' in script.asked[0].content) is sent


def test_an_animation_that_was_asked_for_comes_along(kind: Kind) -> None:
    done = event("done", job("succeeded", request={"animation": True}))
    script = Script(stream(done), answer(200, PNG), answer(200, b"moving"))
    assert Calls(kind, script).pictures("job_1").animation == b"moving"
    assert script.lines[-1] == "GET /v1/jobs/job_1/animation"


def test_a_picture_that_arrives_damaged_is_an_error(kind: Kind) -> None:
    script = Script(stream(DONE), answer(200, PNG[:-1]))
    with pytest.raises(unfog.UnexpectedAnswer, match="picture 0 of job job_1 did not arrive as it was sent"):
        Calls(kind, script).pictures("job_1")


def generated(count: int, animation: bytes | None = None, **fields: Any) -> Generated:
    told = job("succeeded", **fields)
    told["images"] = [{**told["images"][0], "index": k, "seed": 7 + k} for k in range(count)]
    return Generated(read(unfog.Job, told), tuple(bytes([k]) for k in range(count)), animation)


def test_pictures_are_saved_under_the_jobs_name(tmp_path: Path) -> None:
    paths = generated(2, b"moving").save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["job_1-0.png", "job_1-1.png", "job_1-animation.png"]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"moving"]


@pytest.mark.parametrize(
    ("count", "pattern", "names"),
    [
        (1, "art.png", ["art.png", "art-animation.png"]),
        (2, "{seed}.png", ["7.png", "8.png", "7-animation.png"]),
        (1, "a{k}-{job}-{other}.png", ["a0-job_1-{other}.png", "aanimation-job_1-{other}.png"]),
    ],
)
def test_a_pattern_names_the_files(count: int, pattern: str, names: list[str], tmp_path: Path) -> None:
    paths = generated(count, b"moving").save(tmp_path, pattern)
    assert [path.name for path in paths] == names
    assert len(list(tmp_path.iterdir())) == len(names)


def test_one_name_for_many_pictures_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(unfog.WrongArgument, match=r"art\.png is one name for 2 pictures"):
        generated(2).save(tmp_path, "art.png")
    assert list(tmp_path.iterdir()) == []


def test_a_job_whose_name_is_a_path_stays_in_the_folder(tmp_path: Path) -> None:
    (path,) = generated(1, id="../../job").save(tmp_path)
    assert path == tmp_path / "job-0.png"


def test_pictures_do_not_fill_the_screen() -> None:
    assert "pngs" not in repr(generated(1, b"moving"))


def test_a_client_may_be_used_by_many_threads_at_a_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    transport = httpx.MockTransport(lambda request: answer(200, job(id=request.url.path.split("/")[-1])).response())
    names = [f"job_{k}" for k in range(50)]
    with Client(URL, transport=transport) as client, ThreadPoolExecutor(8) as threads:
        assert [told.id for told in threads.map(client.job, names)] == names
