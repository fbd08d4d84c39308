"""Logs: an object a line for machines, plain words for people, libraries in the same form, no local values."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, sys
import structlog
from jobs.logs import configure_logging

configure_logging(sys.argv[1], sys.argv[2])
log = structlog.get_logger()
log.debug("a detail")
log.bind(job="job_1\\n2026 [info] forged").info("it happened", number=3)
logging.getLogger("a.library").warning("it said %s", "so")
logging.getLogger("a.library").debug("its own detail")
try:
    password = "hush"
    1 / len("")
except ZeroDivisionError:
    log.exception("it failed")
    logging.getLogger("a.library").exception("its failure")
"""


def said(level: str, form: str) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM, level, form], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    return done.stderr


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["json", "auto"])
def test_away_from_a_terminal_every_line_is_one_object(form: str) -> None:
    happened, library, failed, failure = objects(said("info", form))
    assert (happened["event"], happened["level"], happened["job"], happened["number"]) == (
        "it happened",
        "info",
        "job_1\n2026 [info] forged",
        3,
    )
    assert (library["event"], library["level"], library["logger"]) == ("it said so", "warning", "a.library")
    for one in (failed, failure):
        assert one["level"] == "error"
        assert "ZeroDivisionError" in one["exception"]
    assert all(one["timestamp"].endswith("Z") for one in (happened, library, failed, failure))


def test_text_is_no_json_and_says_the_same_without_colours() -> None:
    text = said("info", "text")
    assert "it happened" in text
    assert "job='job_1\\n2026 [info] forged'" in text
    assert "it said so" in text
    assert "{" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_values_of_variables_never_get_into_a_traceback(form: str) -> None:
    text = said("info", form)
    assert "ZeroDivisionError" in text
    assert "hush" not in text


def test_details_are_told_on_demand_and_those_of_libraries_never() -> None:
    events = [one["event"] for one in objects(said("debug", "json"))]
    assert events[0] == "a detail"
    assert "its own detail" not in events
    assert [one["event"] for one in objects(said("error", "json"))] == ["it failed", "its failure"]


def test_on_a_terminal_auto_is_text() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "info", "auto"], stderr=theirs)
    assert process.wait(timeout=60) == 0
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # a terminal without its other end
            break
        text += chunk
    os.close(ours)
    assert b"it happened" in text
    assert b'"event"' not in text


def test_configuring_twice_leaves_one_handler() -> None:
    code = "\n".join(
        [
            "import logging",
            "from jobs.logs import configure_logging",
            "configure_logging('info', 'json'); configure_logging('info', 'json')",
            "assert len(logging.getLogger().handlers) == 1",
        ]
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
