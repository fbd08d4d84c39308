"""The composed service in a real engine: a picture, more workers, deaths, nothing lost. Tests run in order."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.containers.engine import ROOT, Stack, docker, inspected, log_of, readme_commands, until

START_S = 300
JOBS, ROWS = 12, 4
"""More rows together than one worker claims, so that two share them."""


def two_workers(stack: Stack) -> tuple[str, str]:
    """Two workers that serve, however many there were: their containers."""
    stack.as_written(readme_commands("Containers")[1])
    until(lambda: stack.workers_ready(2), START_S, "two workers serve")
    one, other = stack.containers("worker-cpu")
    return one, other


def submitted(stack: Stack, seconds: float) -> list[dict[str, Any]]:
    """Jobs that keep the workers busy for about so long, as fast as they say they are."""
    rate = httpx.get(f"{stack.url}/v1/stats", timeout=30).json()["models"]["cats-32"]["rate"]
    steps = min(1000, max(5, int(rate * seconds / (JOBS * ROWS))))
    return [stack.submit(sampler="ddim", steps=steps, num_images=ROWS, seed=seed) for seed in range(JOBS)]


def succeeded(stack: Stack, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them, once they have ended; none failed, and each has its picture."""
    ended = stack.all_ended(jobs)
    assert {job["status"] for job in ended} == {"succeeded"}
    for job in ended:
        answer = httpx.get(stack.url + job["images"][0]["url"], timeout=30)
        assert answer.content.startswith(b"\x89PNG"), job
    return ended


def test_the_readmes_curl_draws_a_picture(stack: Stack, tmp_path: Path) -> None:
    until(lambda: stack.workers_ready(1), START_S, "one worker serves")
    (curl,) = re.findall(r"^curl -sS -f .*/v1/jobs -o art.png$", (ROOT / "README.md").read_text(), re.MULTILINE)
    subprocess.run(shlex.split(curl.replace(":8000", f":{stack.port}")), cwd=tmp_path, check=True, timeout=90)
    assert (tmp_path / "art.png").read_bytes().startswith(b"\x89PNG")


def test_every_part_says_that_it_is_healthy(stack: Stack) -> None:
    for service in ("redis", "api", "worker-cpu"):
        (container,) = stack.containers(service)
        until(
            lambda one=container: inspected("container", one)["State"]["Health"]["Status"] == "healthy",
            60,
            f"{service} is healthy",
        )


def test_nobody_has_rights_or_a_root_to_write_on(stack: Stack) -> None:
    for service in ("redis", "api", "worker-cpu"):
        (container,) = stack.containers(service)
        host = inspected("container", container)["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        touch = ["docker", "exec", container, "touch", "/srv/x", "/x"]
        written = subprocess.run(touch, capture_output=True, text=True)
        assert written.returncode == 1
        assert "Read-only file system" in written.stderr


def test_only_the_api_is_published_and_on_loopback_alone(stack: Stack) -> None:
    published = {
        service: inspected("container", stack.containers(service)[0])["NetworkSettings"]["Ports"]
        for service in ("redis", "api", "worker-cpu")
    }
    (door,) = published.pop("api")["8000/tcp"]
    assert door == {"HostIp": "127.0.0.1", "HostPort": str(stack.port)}
    assert not any(hosts for ports in published.values() for hosts in ports.values())


def test_redis_wants_its_password_and_no_command_line_has_it(stack: Stack) -> None:
    (redis,) = stack.containers("redis")
    assert "NOAUTH" in docker("exec", redis, "redis-cli", "get", "x")
    password = next(
        line.partition("=")[2]
        for line in inspected("container", redis)["Config"]["Env"]
        if line.startswith("REDIS_PASSWORD=")
    )
    for service in ("redis", "api", "worker-cpu"):
        assert password not in docker("top", stack.containers(service)[0], "-o", "pid,args")


def test_a_worker_killed_with_work_in_it_costs_no_job(stack: Stack) -> None:
    one, other = two_workers(stack)
    jobs = submitted(stack, 10)
    until(lambda: stack.held_by(one) and stack.held_by(other), 60, "both workers hold jobs")
    docker("kill", one)
    ended = succeeded(stack, jobs)
    again = [job for job in ended if job["attempt"] > 1]
    assert again, "the dead worker held some"
    fields = ("sampler", "steps", "num_images", "seed")
    (same,) = succeeded(stack, [stack.submit(**{name: again[0]["request"][name] for name in fields})])
    assert same["images"][0]["sha256"] == again[0]["images"][0]["sha256"], "the same picture as without a death"


def test_a_redis_started_again_has_every_job_and_every_result(stack: Stack) -> None:
    two_workers(stack)
    (before,) = succeeded(stack, [stack.submit(steps=5)])
    jobs = submitted(stack, 5)
    until(lambda: any(stack.job(job)["status"] == "running" for job in jobs), 60, "some of them run")
    stack.compose("restart", "--timeout", "10", "redis")
    until(lambda: stack.workers_ready(2), START_S, "both workers are back")
    succeeded(stack, [before, *jobs])


def test_sigterm_drains_a_worker_and_hands_the_rest_back(stack: Stack) -> None:
    one, other = two_workers(stack)
    jobs = submitted(stack, 20)
    until(lambda: stack.held_by(one) and stack.held_by(other), 60, "both workers hold jobs")
    docker("stop", "--time", "40", one)
    assert inspected("container", one)["State"]["ExitCode"] == 0, "it ended by itself"
    said = [line["event"] for line in log_of(one)]
    assert "draining" in said
    assert said.count("job given back") > 0
    assert {job["attempt"] for job in succeeded(stack, jobs)} <= {1, 2}


def test_a_key_is_made_where_the_service_runs(stack: Stack) -> None:
    succeeded(stack, [stack.submit(steps=5)])
    (api,) = stack.containers("api")
    token = docker("exec", api, "unfog", "keys", "create", "alice").strip()
    headers = {"Authorization": f"Bearer {token}"}
    # An API process may take a second to notice the first key, and until then everybody is anonymous.
    until(
        lambda: httpx.get(f"{stack.url}/v1/jobs", headers=headers, timeout=30).json().get("data") == [],
        10,
        "alice is alice, who has submitted nothing yet",
    )


def test_a_job_outlives_down_and_up(stack: Stack) -> None:
    job = stack.submit(steps=50)
    stack.compose("down", "--timeout", "15")
    assert not stack.containers("api", stopped=True)
    stack.compose("up", "--detach", "--no-build")
    until(lambda: stack.workers_ready(1), START_S, "one worker serves")
    succeeded(stack, [job])


def test_down_with_its_volumes_leaves_nothing(stack: Stack) -> None:
    assert stack.left().split()
    stack.as_written(readme_commands("Containers")[2])
    assert stack.left() == ""


def test_without_a_password_for_redis_compose_says_what_to_do(stack: Stack) -> None:
    bare = Stack(stack.project, stack.port)
    bare.environment["REDIS_PASSWORD"] = ""
    with pytest.raises(AssertionError, match=r"set it in \.env"):
        bare.compose("config")
