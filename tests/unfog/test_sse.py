"""The parser reads a stream as the standard has it, however it is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfog import sse
from unfog.errors import UnexpectedAnswer
from unfog.sse import Message, SseParser

PIECES = [
    "data",
    "event",
    "id",
    ":",
    " ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "x",
    "ä",
    "\ufeff",
    "data: y\n\n",
    "retry: 5",
]
streams = st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join)


def parse(stream: bytes, cuts: list[int]) -> list[Message]:
    parser, found, at = SseParser(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        found += parser.feed(stream[at:cut])
        at = max(at, cut)
    return found


def by_the_book(stream: str) -> list[Message]:
    """The standard's steps on the whole text, written for plainness."""
    text = stream.removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]  # what no line end follows is no line
    found, event, data = [], "", ""
    for line in lines:
        if line == "":
            if data:
                found.append(Message(event or "message", data.removesuffix("\n")))
            event, data = "", ""
        elif line.startswith(":"):
            continue
        else:
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name == "event":
                event = value
            if name == "data":
                data += value + "\n"
    return found


@given(streams, st.lists(st.integers(0, 60), max_size=6))
def test_any_stream_cut_anywhere_is_read_as_the_standard_says(stream: str, cuts: list[int]) -> None:
    raw = stream.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    assert parse(raw, [min(cut, len(raw)) for cut in cuts]) == by_the_book(raw.decode())


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_give_messages_or_none_and_no_error(stream: bytes, cuts: list[int]) -> None:
    for message in parse(stream, [min(cut, len(stream)) for cut in cuts]):
        assert message.event


@given(st.lists(st.tuples(st.sampled_from(["progress", "done"]), st.text()), max_size=5))
def test_what_a_server_writes_is_what_comes_out(told: list[tuple[str, str]]) -> None:
    lines = [(name, re.split("\r\n|\n|\r", text)) for name, text in told]
    stream = "".join(f"event: {name}\n" + "".join(f"data: {t}\n" for t in texts) + "\n" for name, texts in lines)
    raw = stream.encode("utf-8", "replace")
    wanted = [Message(name, "\n".join(texts).encode("utf-8", "replace").decode()) for name, texts in lines]
    assert parse(raw, []) == wanted


def test_a_message_that_ends_with_a_bare_cr_is_there_at_once() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r\r") == [Message("message", "a")]
    assert parser.feed(b"\ndata: b\n\n") == [Message("message", "b")], "the LF belongs to the CR before it"


def test_a_message_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_MESSAGE", 1000)
    parser = SseParser()
    for _ in range(100):
        assert parser.feed(b"data: " + b"x" * 500 + b"\n\n"), "many small ones are no large one"
    parser.feed(b"data: " + b"x" * 900)
    with pytest.raises(UnexpectedAnswer, match="more than 1000"):
        parser.feed(b"\ndata: " + b"x" * 100)
