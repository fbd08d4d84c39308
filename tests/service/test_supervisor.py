"""The supervisor with real processes: it starts, stops, restarts and gives up."""

import os
import signal
from pathlib import Path

import pytest

from service.supervisor import Restarts
from tests.service.running import alive, eventually, service, well_behaved

PAIR = {"worker": well_behaved("worker"), "api": well_behaved("api")}


@pytest.mark.parametrize("how", ["Ctrl-C in a terminal", "SIGTERM", "SIGHUP"])
def test_it_stops_the_api_first_then_the_worker_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    with service(tmp_path, PAIR) as running:
        running.wait_ready()
        pids = [running.pid(name) for name in PAIR]
        if how == "Ctrl-C in a terminal":
            running.ctrl_c()
        else:
            os.kill(running.process.pid, getattr(signal, how))
        assert running.end() == 0, running.said
        assert running.notes() == ["api SIGTERM", "worker SIGTERM"]
        assert not any(alive(pid) for pid in pids)


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    with service(tmp_path, PAIR, nohup=True) as running:
        running.wait_ready()
        os.kill(running.process.pid, signal.SIGHUP)
        os.kill(running.pid("worker"), signal.SIGKILL)  # it notices this one, so it had time for the other
        assert eventually(lambda: (tmp_path / "deaths").exists())
        assert alive(running.process.pid)
        running.ctrl_c()
        assert running.end() == 0, running.said


def test_what_children_print_is_labelled(tmp_path: Path) -> None:
    with service(tmp_path, PAIR) as running:
        running.wait_ready()
        running.ctrl_c()
        running.end()
    assert "worker | at work\n" in running.said
    assert "api    | at work\n" in running.said


def test_a_kill_of_the_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    with service(tmp_path, PAIR, redis=True) as running:
        running.wait_ready()
        pids = [running.pid(name) for name in PAIR]
        os.kill(running.process.pid, signal.SIGKILL)
        assert eventually(lambda: not any(alive(pid) for pid in pids))
    with service(tmp_path, PAIR, redis=True) as running:
        running.wait_ready()
        running.ctrl_c()
        assert running.end() == 0, running.said


def test_ctrl_c_while_it_starts_stops_what_was_started(tmp_path: Path) -> None:
    never_ready = well_behaved("api").replace("\nappear()\n", "\nnote('started')\n")
    with service(tmp_path, {"worker": well_behaved("worker"), "api": never_ready}) as running:
        assert eventually(lambda: "api started" in running.notes())
        worker = running.pid("worker")
        running.ctrl_c()
        assert running.end() == 0, running.said
        assert not alive(worker)


def test_a_second_ctrl_c_does_not_wait_for_a_child_that_takes_its_time(tmp_path: Path) -> None:
    deaf = well_behaved("worker", "signal.signal(signal.SIGTERM, lambda *_: note('busy'))")
    with service(tmp_path, {"worker": deaf}, stop_s=600.0) as running:
        running.wait_ready()
        worker = running.pid("worker")
        running.ctrl_c()
        assert eventually(lambda: running.notes() == ["worker busy"])
        running.ctrl_c()
        assert running.end() == 0, running.said
        assert not alive(worker)


def test_a_child_that_does_not_stop_in_its_time_is_killed(tmp_path: Path) -> None:
    deaf = well_behaved("worker", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with service(tmp_path, {"worker": deaf}, stop_s=0.2) as running:
        running.wait_ready()
        worker = running.pid("worker")
        running.ctrl_c()
        assert running.end() == 0, running.said
        assert not alive(worker)


def test_a_child_that_dies_is_told_of_and_started_again(tmp_path: Path) -> None:
    with service(tmp_path, PAIR) as running:
        running.wait_ready()
        first = running.pid("worker")
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: running.pid("worker") != first)
        api, second = running.pid("api"), running.pid("worker")
        assert alive(second)
        assert alive(api), "its neighbour was left alone"
        assert (tmp_path / "deaths").read_text() == f"worker {first}\n"
        running.ctrl_c()
        assert running.end() == 0
    assert f"worker (process {first}) ended by SIGKILL; starting it again" in running.said


def test_what_a_dead_child_left_behind_is_ended(tmp_path: Path) -> None:
    with_grandchild = well_behaved(
        "worker",
        "import subprocess; note(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)",
    )
    with service(tmp_path, {"worker": with_grandchild}) as running:
        running.wait_ready()
        grandchild = int(running.notes()[0].split()[1])
        assert alive(grandchild)
        os.kill(running.pid("worker"), signal.SIGKILL)
        assert eventually(lambda: not alive(grandchild))


def test_it_gives_up_loudly_on_a_child_that_keeps_dying(tmp_path: Path) -> None:
    dies_later = well_behaved(
        "worker",
        "if os.path.exists(os.path.join(folder, 'worker.pid')):\n    print('no such weights'); sys.exit(3)",
    )
    with service(tmp_path, {"worker": dies_later, "api": well_behaved("api")}, tries=3) as running:
        running.wait_ready()
        api = running.pid("api")
        os.kill(running.pid("worker"), signal.SIGKILL)
        assert running.end() == 1
        assert not alive(api)
    assert "ended with exit code 3, 3 times in a row" in running.said
    assert running.said.rstrip().splitlines()[-1] == "  no such weights"


def test_a_child_that_dies_before_all_are_ready_is_not_tried_again(tmp_path: Path) -> None:
    with service(
        tmp_path, {"worker": well_behaved("worker"), "api": "raise SystemExit('no such class')"}
    ) as running:
        assert running.end() == 1
    assert "ended with exit code 1 before the service was ready." in running.said
    assert "  no such class" in running.said
    assert running.said.count("no such class") == 2, "once as it came, once as its last words"


def test_pauses_double_up_to_the_longest() -> None:
    restarts = Restarts(first_s=0.25, longest_s=1.5)
    assert [restarts.pause_s(deaths) for deaths in range(6)] == [0.0, 0.25, 0.5, 1.0, 1.5, 1.5]
