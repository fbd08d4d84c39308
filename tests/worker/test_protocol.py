"""What goes through the pipe between the two processes of a worker, and what never holds up the engine."""

import multiprocessing

import pytest

from tests.worker.engines import png_of, row, toy_engine, uri_of
from worker import protocol
from worker.engine import Engine
from worker.engine_client import PreviewShelf
from worker.engine_process import _show
from worker.protocol import Channel
from worker.row import Preview, RowDone, RowFailed


def pipe() -> tuple[Channel, Channel]:
    ours, theirs = multiprocessing.Pipe()
    return Channel(ours), Channel(theirs)


def test_rows_arrive_as_they_were_and_a_shared_picture_travels_once() -> None:
    uri = uri_of(png_of((64, 64)))
    rows = [row("job", n, init_image=uri, walked_steps=3, seed_to=4, seed_mix=0.5, animate=True) for n in range(16)]
    rows += [row("other"), row("third", init_image=uri_of(png_of((64, 64), seed=1)))]
    ours, theirs = pipe()
    ours.send(protocol.add(rows))
    message, payload = theirs.receive()
    assert protocol.rows_of(message) == rows
    assert payload == b""
    assert len(str(message)) < 3 * len(uri)


@pytest.mark.parametrize(
    "left",
    [
        RowDone("job", 3, bytes(range(48))),
        RowDone("job", 3, bytes(range(48)), bytes(96)),
        RowFailed("job", 3, "engine_error", "it broke"),
    ],
)
def test_what_has_left_arrives_as_it_was(left: RowDone | RowFailed) -> None:
    ours, theirs = pipe()
    ours.send(*protocol.left(left))
    assert protocol.row_left(*theirs.receive()) == left


def test_a_preview_arrives_as_it_was() -> None:
    ours, theirs = pipe()
    ours.send(*protocol.preview(Preview("job", 1, b"abc", 7)))
    assert protocol.preview_of(*theirs.receive()) == Preview("job", 1, b"abc", 7)


# Previews hold nothing up


def test_previews_are_left_out_when_the_other_side_does_not_read() -> None:
    ours, theirs = pipe()
    filler = 0
    while ours.writable():
        ours.send({"op": "filler"}, bytes(1000))
        filler += 1
    engine = toy_engine()
    engine.add([row("job", index, steps=50) for index in range(8)])
    for _ in range(20):
        engine.tick()
        # Would wait for ever if it did not look first.
        _show(ours, [engine], {"job"})
    for _ in range(filler):
        assert theirs.receive()[0]["op"] == "filler"
    assert not theirs.poll()
    engine.tick()
    _show(ours, [engine], {"job"})
    assert [protocol.preview_of(*theirs.receive()).completed for _ in range(8)] == [21] * 8


def test_an_engine_that_cannot_make_previews_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA out of memory")

    ours, theirs = pipe()
    engine = toy_engine()
    engine.add([row("job", steps=2)])
    engine.tick()
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "previews", broken)
        _show(ours, [engine], {"job"})
    assert not theirs.poll()
    assert isinstance(engine.tick().left[0], RowDone)


# The shelf


def preview(key: str = "job", index: int = 0, completed: int = 1) -> Preview:
    return Preview(key, index, b"xyz", completed)


def test_the_shelf_keeps_the_newest_of_each_row_and_gives_it_once() -> None:
    shelf = PreviewShelf()
    assert shelf.want({"job"})
    for completed in range(100):
        for index in (0, 1):
            shelf.put(preview(index=index, completed=completed))
    assert sorted(one.index for one in shelf.take()) == [0, 1]
    assert shelf.take() == []


def test_the_shelf_takes_only_what_is_wanted_and_forgets_what_is_wanted_no_more() -> None:
    shelf = PreviewShelf()
    shelf.put(preview())
    assert shelf.take() == []
    assert shelf.want({"job", "other"})
    assert not shelf.want({"other", "job"}), "nothing new: the engine need not be told"
    shelf.put(preview())
    shelf.put(preview("other"))
    shelf.want({"other"})
    assert [one.key for one in shelf.take()] == ["other"]


def test_a_row_that_has_left_leaves_no_preview_behind() -> None:
    shelf = PreviewShelf()
    shelf.want({"job"})
    shelf.put(preview(index=0))
    shelf.put(preview(index=1))
    shelf.drop("job", 0)
    shelf.drop("job", 7)
    assert [one.index for one in shelf.take()] == [1]
