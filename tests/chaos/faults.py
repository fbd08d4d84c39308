"""What is done to the processes, and how long the jobs that were hit took to be queued and to run again."""

import os
import random
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from rq.registry import StartedJobRegistry

from jobs.lanes import lanes_of, suspects_name
from jobs.queue import ServiceJob
from jobs.recovery import take_back_overdue
from tests.chaos.stage import HEARTBEAT_TTL_S, Stage, alive, children_of, until

FROZEN_S = HEARTBEAT_TTL_S + 6.0


@dataclass
class Recovery:
    """After one kill: seconds until the last of the jobs that were held was queued again, and ran again.

    `undisturbed`: all other workers lived, and nothing else went wrong meanwhile.
    """

    jobs: int
    queued_s: float
    running_s: float
    undisturbed: bool


@dataclass
class Faults:
    """Does harm, one fault at a time, and counts it. Call it from the thread that started Redis."""

    stage: Stage
    rng: random.Random
    count: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    engine_end_s: list[float] = field(default_factory=list)
    """Seconds in which the engine of a killed worker ended by itself."""
    watches: list[threading.Thread] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    # Workers

    def kill_worker_alone(self) -> None:
        """SIGKILL a worker when all have lived for more than a heartbeat ttl, and see its jobs run elsewhere."""
        self.settle()
        pids = [worker.pid for worker in self.stage.workers]
        until(
            lambda: all(self.stage.names_of(worker.pid) for worker in self.stage.workers), "all workers are there"
        )
        time.sleep(HEARTBEAT_TTL_S + 1.0)
        self.kill_worker(undisturbed=pids == [worker.pid for worker in self.stage.workers])
        self.settle()

    def kill_worker(self, *, undisturbed: bool = False) -> None:
        """SIGKILL the process that keeps the books, while it holds jobs; its engine must end by itself."""
        worker = self._a_busy_worker()
        held = self.stage.held_by(worker.pid)
        engines = children_of(worker.pid)
        self.stage.killed.add(worker.pid)
        worker.kill()
        self._watch(lambda: self._engines_end(engines))
        self._watch(lambda: self._recover(held, undisturbed))
        self.count["SIGKILL of a worker"] += 1

    def kill_engine(self) -> None:
        """SIGKILL the engine process of a worker that holds jobs."""
        worker = self._a_busy_worker()
        for engine in children_of(worker.pid):
            os.kill(engine, signal.SIGKILL)
            self.count["SIGKILL of an engine"] += 1

    def freeze_worker(self) -> None:
        """SIGSTOP a worker that holds jobs until others have them, then SIGCONT: its commits are too late."""
        worker = self._a_busy_worker()
        held = self.stage.held_by(worker.pid)
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            start = time.monotonic()
            until(lambda: self._all_taken(held), "a frozen worker's jobs are taken back", FROZEN_S + 60)
            time.sleep(max(0.0, FROZEN_S - (time.monotonic() - start)))
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        self.count["SIGSTOP of a worker past its heartbeat"] += 1

    def _a_busy_worker(self) -> "subprocess.Popen[bytes]":
        until(lambda: self.stage.busy(), "a worker holds jobs")
        busy = self.stage.busy()
        while busy is None:
            time.sleep(0.02)
            busy = self.stage.busy()
        return busy

    def _all_taken(self, held: dict[str, str]) -> bool:
        return all(self.stage.state_of(job_id) != ("started", worker) for job_id, worker in held.items())

    def _engines_end(self, engines: list[int]) -> None:
        took = until(lambda: not any(alive(pid) for pid in engines), "the engine of a killed worker ends")
        self.engine_end_s.append(took)

    def _recover(self, held: dict[str, str], undisturbed: bool) -> None:
        start = time.monotonic()
        until(lambda: self._all_taken(held), f"jobs are taken back: {sorted(held)}")
        queued_s = time.monotonic() - start
        until(lambda: all(self._has_gone_on(job_id) for job_id in held), f"jobs run again: {sorted(held)}")
        if held:
            self.recoveries.append(Recovery(len(held), queued_s, time.monotonic() - start, undisturbed))

    def _has_gone_on(self, job_id: str) -> bool:
        return self.stage.state_of(job_id)[0] != "queued"

    def _watch(self, wait: Callable[[], None]) -> None:
        def watched() -> None:
            try:
                wait()
            except AssertionError as error:
                self.problems.append(str(error))

        self.watches.append(threading.Thread(target=watched, daemon=True))
        self.watches[-1].start()

    # Redis

    def kill_redis(self) -> None:
        """SIGKILL Redis and start it on its append-only file."""
        self._a_busy_worker()
        self.stage.restart_redis(self.rng.uniform(0.0, 1.0))
        self.count["SIGKILL of Redis"] += 1

    def freeze_redis(self, for_s: float) -> None:
        """SIGSTOP Redis for so long."""
        self._a_busy_worker()
        assert self.stage.server.child.pid is not None
        os.kill(self.stage.server.child.pid, signal.SIGSTOP)
        try:
            time.sleep(for_s)
        finally:
            os.kill(self.stage.server.child.pid, signal.SIGCONT)
        until(self.stage.redis.ping, "Redis answers again", 60)
        self.count[f"Redis away for {for_s:g} s"] += 1

    # The rest

    def clean_up_twice_at_once(self) -> None:
        """RQ's own clean-up and ours, two of each at the same moment, while a dead worker's jobs are overdue."""
        self.kill_worker()
        time.sleep(HEARTBEAT_TTL_S + 1.0)
        models = [key.decode() for key in self.stage.redis.hkeys("unfog:models")]
        names = [lane.name for model in models for lane in lanes_of(model)] + [suspects_name(m) for m in models]
        ready = threading.Barrier(4)

        def of_rq() -> None:
            ready.wait()
            for name in names:
                StartedJobRegistry(
                    name,
                    connection=self.stage.redis,
                    job_class=ServiceJob,
                    serializer="rq.serializers.JSONSerializer",
                ).cleanup()

        def ours() -> None:
            ready.wait()
            take_back_overdue(self.stage.redis, names)

        cleaners = [threading.Thread(target=clean) for clean in (of_rq, of_rq, ours, ours)]
        for cleaner in cleaners:
            cleaner.start()
        for cleaner in cleaners:
            cleaner.join()
        self.count["four clean-ups at once"] += 1

    def kill_api_before_it_answers(self) -> str:
        """Kill the API between the enqueue and its answer; the repeated request must give the same job: its id."""
        stage, key = self.stage, uuid.UUID(int=self.rng.getrandbits(128)).hex
        assert stage.api is not None
        body = {"sampler": "ddpm", "steps": 600, "seed": 1, "class_label": "a", "ttl_s": 3600}
        lost: list[str] = []

        def ask() -> None:
            headers = {"Idempotency-Key": key, "Prefer": "wait=60"}
            try:
                httpx.post(f"{stage.api_url}/v1/jobs", json=body, headers=headers, timeout=90)
            except httpx.HTTPError as error:
                lost.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        until(
            lambda: stage.redis.exists(f"unfog:idempotency:anonymous:{key}"), "the job is accepted", every_s=0.002
        )
        stage.api.kill()
        stage.api.wait()
        asking.join()
        stage.start_api()
        answers = set()
        while len(answers) < 1:
            answer = httpx.post(f"{stage.api_url}/v1/jobs", json=body, headers={"Idempotency-Key": key}, timeout=30)
            if answer.status_code == 202 or answer.status_code == 200:
                answers.add(answer.json()["id"])
        (job_id,) = answers
        known = stage.redis.get(f"unfog:idempotency:anonymous:{key}")
        if not lost or known is None or job_id not in known.decode():
            self.problems.append("a request repeated after the API was killed did not give the same job")
        self.count["SIGKILL of the API before its answer"] += 1
        return str(job_id)

    def settle(self) -> None:
        """Wait for everything that is still being watched."""
        while self.watches:
            self.watches.pop().join()
