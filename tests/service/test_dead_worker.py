"""When the worker of the service dies, its jobs are queued again at once."""

import os
import signal
import sys
from pathlib import Path

from pydantic import SecretStr
from rq.registry import StartedJobRegistry

from jobs.record import Status
from jobs.recovery import worker_name
from jobs.settings import Settings
from service.child import Child
from service.dead_worker import take_jobs_back
from service.redis_server import RedisServer, find_redis_server
from tests.jobs.submitting import Desk
from tests.service.running import eventually


def killed_child() -> Child:
    child = Child("worker", [sys.executable, "-c", "import time; time.sleep(600)"])
    child.start()
    child.send(signal.SIGKILL)
    child.stop()
    return child


def test_its_jobs_are_queued_again_and_those_of_others_are_not(redis_url: str) -> None:
    desk, dead, said = Desk(redis_url), killed_child(), []
    assert dead.pid is not None
    host = os.uname().nodename
    names = [worker_name(host, dead.pid, 1), worker_name(host, dead.pid + 1, 1)]
    desk.redis.sadd("rq:workers", *(f"rq:worker:{name}" for name in names))
    jobs = []
    for name in names:
        jobs.append(desk.submit())
        desk.claim_all(name)
    take_jobs_back(desk.settings, dead, said.append)
    assert [desk.read(job.id).status for job in jobs] == [Status.QUEUED, Status.RUNNING]
    assert said == [f"Jobs of worker (process {dead.pid}): 1 queued again, 0 to be run apart, 0 failed."]
    assert StartedJobRegistry(jobs_lane(desk, jobs[0].id), connection=desk.redis).get_job_count(cleanup=False) == 1
    desk.redis.close()


def jobs_lane(desk: Desk, job_id: str) -> str:
    return str(desk.redis.hget(f"rq:job:{job_id}", "origin").decode())


def test_without_redis_it_says_so_and_goes_on(tmp_path: Path) -> None:
    nowhere = Settings(redis_url=SecretStr(f"unix://{tmp_path}/nobody.sock"))
    said: list[str] = []
    take_jobs_back(nowhere, killed_child(), said.append)
    (line,) = said
    assert "will be taken back later" in line


def test_a_redis_that_hangs_holds_nobody_up_and_the_jobs_are_taken_back_when_it_answers(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    binary = find_redis_server()
    assert binary is not None
    with RedisServer(binary, tmp_path / "redis") as server:
        desk, dead, said = Desk(server.url), killed_child(), []
        assert dead.pid is not None
        job = desk.submit()
        name = worker_name(os.uname().nodename, dead.pid, 1)
        desk.redis.sadd("rq:workers", f"rq:worker:{name}")
        desk.claim_all(name)
        server.child.send(signal.SIGSTOP)
        try:
            take_jobs_back(desk.settings, dead, said.append)
            assert "Redis is slow" in said[0]
        finally:
            server.child.send(signal.SIGCONT)
        assert eventually(lambda: len(said) == 2)
        assert "1 queued again" in said[1]
        assert desk.read(job.id).status == Status.QUEUED
        desk.redis.close()
