"""RQ's own tools see the truth while jobs run, and can stop one."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq.command import send_stop_job_command
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from tests.e2e.running import RunningService

pytestmark = pytest.mark.e2e

RQ = str(Path(sys.executable).with_name("rq"))


def rq_info(service: RunningService) -> str:
    done = subprocess.run([RQ, "info", "--url", service.redis_url], capture_output=True, text=True, check=True)
    return done.stdout


def until(condition: object, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_rq_info_tells_the_truth_while_jobs_run(service: RunningService) -> None:
    bodies = [{"sampler": "ddpm", "steps": 1000, "seed": seed} for seed in range(3)]
    jobs = [httpx.post(f"{service.url}/v1/jobs", json=body).json() for body in bodies]
    until(lambda: "3 executing" in rq_info(service))
    assert re.search(r"busy unfog\.cats-32", rq_info(service))
    with Redis.from_url(service.redis_url) as redis:
        lane = Job.fetch(jobs[0]["id"], connection=redis, serializer=JSONSerializer).origin
        assert lane.startswith("unfog.cats-32.normal.long.")
        started = StartedJobRegistry(lane, connection=redis, serializer=JSONSerializer)
        assert sorted(started.get_job_ids()) == sorted(job["id"] for job in jobs)
        for job in jobs:
            send_stop_job_command(redis, job["id"], serializer=JSONSerializer)
    assert {service.finished(job)["status"] for job in jobs} == {"canceled"}
    until(lambda: "0 executing" in rq_info(service))
    assert re.search(r"idle unfog\.cats-32", rq_info(service))


def test_a_running_job_shows_its_progress(service: RunningService) -> None:
    job = httpx.post(f"{service.url}/v1/jobs", json={"sampler": "ddpm", "steps": 1000, "seed": 4}).json()
    url = service.url + job["urls"]["self"]
    until(lambda: 0 < httpx.get(url).json()["progress"]["fraction"] < 1)
    assert httpx.get(url).json()["status"] == "running"
    with Redis.from_url(service.redis_url) as redis:
        send_stop_job_command(redis, job["id"], serializer=JSONSerializer)
    stopped = service.finished(job)
    picture = httpx.get(url, headers={"Accept": "image/png"})
    assert (stopped["status"], picture.status_code) == ("canceled", 409)
    assert picture.json()["code"] == "job_canceled"


def test_nothing_of_a_job_stays_in_redis_without_an_end(service: RunningService) -> None:
    service.submit({"steps": 2, "ttl_s": 30})
    with Redis.from_url(service.redis_url) as redis:
        until(lambda: not redis.keys("rq:execution*"))
        ours = [key for pattern in ("rq:job:*", "rq:results:*", "unfog:picture:*") for key in redis.keys(pattern)]
        assert ours
        assert all(redis.ttl(key) > 0 for key in ours)
