"""Jobs moved in any order, and by many at once: nothing is lost, nothing is counted twice."""

import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis import Redis
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.serializers import JSONSerializer

from jobs import keys
from jobs.errors import JobError, JobNotFound
from jobs.lanes import split
from jobs.ledger import RUNNING
from jobs.queue import ServiceJob
from jobs.record import Failure
from jobs.recovery import take_back, worker_name
from jobs.tidying import expire_canceled
from jobs.work import recount
from tests.cards import FRUIT
from tests.jobs.submitting import Desk
from worker.consumer.claim import claim, pop
from worker.consumer.execution import LiveJob

WORKERS = [worker_name("here", pid, 1) for pid in (1, 2)]
FAILED = Failure(code="made_up", detail="it failed")
ENDED = {"finished", "failed", "stopped", "canceled"}


def sums_of_entries(desk: Desk) -> tuple[dict[str, int], Counter[str], Counter[str]]:
    """What the counters have to be: of the model, of all work, of the callers."""
    model: Counter[str] = Counter()
    work: Counter[str] = Counter()
    callers: Counter[str] = Counter()
    for entry in desk.ledger().values():
        state = "running" if entry.lane == RUNNING else "queued"
        work[state] += entry.evaluations
        model[f"{state}.jobs"] += 1
        model[f"{state}.evaluations"] += entry.evaluations
        if entry.lane == RUNNING:
            model["running.done"] += entry.done
        else:
            model[f"{entry.lane}.jobs"] += 1
            model[f"{entry.lane}.evaluations"] += entry.evaluations
            callers[entry.caller] += entry.evaluations
    return {field: count for field, count in model.items() if count}, work, callers


def require_books_in_order(desk: Desk) -> None:
    """The counters are the sums over the entries, and the orders hold the jobs that wait."""
    model, work, callers = sums_of_entries(desk)
    assert desk.model_counters() == model
    assert Counter(desk.counters()) == work
    assert desk.callers() == callers
    with desk.redis.pipeline() as pipe:
        for queue in desk.queues():
            pipe.zrange(keys.lane_order(FRUIT.id, split(queue.name)[1]), 0, -1)
        orders = pipe.execute()
    lined_up = {
        (split(queue.name)[1], job.decode())
        for queue, jobs in zip(desk.queues(), orders, strict=True)
        for job in jobs
    }
    assert lined_up == {(entry.lane, job) for job, entry in desk.ledger().items() if entry.lane != RUNNING}


def lanes_as_rq_has_them(desk: Desk) -> dict[str, str]:
    """Where each job is by RQ's own lists."""
    found: dict[str, str] = {}
    with desk.redis.pipeline() as pipe:
        for queue in desk.queues():
            pipe.lrange(queue.key, 0, -1)
            pipe.lrange(queue.intermediate_queue_key, 0, -1)
            pipe.zrange(f"rq:wip:{queue.name}", 0, -1)
        answers = pipe.execute()
    for queue, waiting, popped, started in zip(
        desk.queues(), answers[::3], answers[1::3], answers[2::3], strict=True
    ):
        found |= {job.decode(): split(queue.name)[1] for job in (*waiting, *popped)}
        found |= {key.decode().partition(":")[0]: RUNNING for key in started}
    return found


def drain(desk: Desk) -> None:
    """Let two workers finish what there is."""
    for worker in WORKERS:
        take_back(desk.redis, [key.decode() for key in desk.redis.smembers(f"rq:worker:{worker}:executions")])
    for queue in desk.queues():
        while desk.redis.lmove(queue.intermediate_queue_key, queue.key, "RIGHT", "LEFT"):
            pass
    for claimed in desk.claim_all(WORKERS[0]):
        assert desk.finish(WORKERS[0], desk.live(claimed))


def require_all_ended_once(
    desk: Desk, accepted: set[str], erased: frozenset[str] = frozenset(), again: frozenset[str] = frozenset()
) -> None:
    """All that were accepted are there but the erased ones, each with one result but those that RQ ran again."""
    for job_id in accepted - erased:
        status = desk.redis.hget(f"rq:job:{job_id}", "status")
        assert status is not None, f"{job_id} is lost"
        assert status.decode() in ENDED
        assert job_id in again or desk.redis.xlen(f"rq:results:{job_id}") == (status != b"canceled")
        assert desk.redis.ttl(f"rq:job:{job_id}") > 0
    # RQ's cancel leaves the executions of a job that runs to its worker, which may die first; they expire.
    found = [key.decode() for pattern in ("rq:wip:*", "rq:queue:*", "rq:exec*") for key in desk.redis.keys(pattern)]
    left = [key for key in found if desk.redis.ttl(key) == -1]
    assert not left
    assert desk.ledger() == desk.model_counters() == desk.callers() == {}
    assert not any(desk.counters().values())


class Moves(RuleBasedStateMachine):
    """One job after another is moved by the API, two workers, their deaths and RQ's own tools."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self.url)
        self.desk.redis.flushall()
        self.jobs: list[str] = []
        self.erased: set[str] = set()
        self.again: set[str] = set()
        self.held: dict[str, list[LiveJob]] = {worker: [] for worker in WORKERS}
        self.around = False
        """Whether RQ's tools have gone around the ledger since the last recount."""

    def teardown(self) -> None:
        """Everything ends, and nothing is left of it."""
        drain(self.desk)
        self.desk.redis.delete(keys.WORK_LOCK)
        recount(self.desk.redis)
        expire_canceled(self.desk.redis, self.desk.queue_names)
        require_books_in_order(self.desk)
        if self.desk.redis.scard("rq:queues"):
            require_all_ended_once(self.desk, set(self.jobs), frozenset(self.erased), frozenset(self.again))
        self.desk.redis.close()

    def _any(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.jobs), label="job")

    @rule(
        caller=st.sampled_from(["ada", "bob", "cy"]),
        steps=st.sampled_from([2, 10, 200]),
        images=st.integers(1, 3),
        priority=st.sampled_from(["normal", "low"]),
    )
    def submit(self, caller: str, steps: int, images: int, priority: str) -> None:
        job = self.desk.submit(caller=caller, steps=steps, num_images=images, priority=priority)
        self.jobs.append(job.id)

    @rule(worker=st.sampled_from(WORKERS), lanes=st.integers(1, 3))
    def claim(self, worker: str, lanes: int) -> None:
        waiting = [queue for queue in self.desk.queues() if len(queue)][:lanes]
        claimed = claim(self.desk.redis, pop(self.desk.redis, waiting), worker, 60) if waiting else []
        self.held[worker] += map(self.desk.live, claimed)

    @rule(data=st.data())
    def pop_and_die(self, data: st.DataObject) -> None:
        waiting = [queue for queue in self.desk.queues() if len(queue)]
        if waiting:
            pop(self.desk.redis, [data.draw(st.sampled_from(waiting))])

    @rule()
    def put_back_what_was_popped(self) -> None:
        for queue in self.desk.queues():
            for job_id in queue.intermediate_queue.get_job_ids():
                self.desk.redis.set(queue.intermediate_queue.get_first_seen_key(job_id), 1)
            queue.intermediate_queue.cleanup(None, queue)  # type: ignore[arg-type]

    @rule(worker=st.sampled_from(WORKERS), done=st.integers(0, 5))
    def progress(self, worker: str, done: int) -> None:
        for live in self.held[worker]:
            self.desk.progress(live, done)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "stop"]))
    def end_one(self, data: st.DataObject, how: str) -> None:
        worker = data.draw(st.sampled_from([name for name, held in self.held.items() if held]))
        live = self.held[worker].pop(data.draw(st.integers(0, len(self.held[worker]) - 1)))
        if how == "stop":
            self.desk.stop(worker, live)
        else:
            self.desk.finish(worker, live, failure=FAILED if how == "fail" else None)

    @rule(worker=st.sampled_from(WORKERS), crashed=st.booleans())
    def give_back(self, worker: str, crashed: bool) -> None:
        if self.held[worker]:
            self.desk.give_back(worker, self.held[worker], crashed=crashed)
            self.held[worker] = []

    @rule(worker=st.sampled_from(WORKERS), frozen=st.booleans())
    def take_back(self, worker: str, frozen: bool) -> None:
        """A frozen worker still believes that it holds them."""
        take_back(self.desk.redis, [live.key for live in self.held[worker]])
        if not frozen:
            self.held[worker] = []

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        with contextlib.suppress(JobNotFound):
            self.desk.cancel(self._any(data))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        job_id = self._any(data)
        with contextlib.suppress(JobError):
            self.desk.ask(lambda store: store.erase(job_id))
            self.erased.add(job_id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), how=st.sampled_from(["cancel", "requeue", "delete"]))
    def use_rqs_tools(self, data: st.DataObject, how: str) -> None:
        job_id = self._any(data)
        self.around = True
        with contextlib.suppress(NoSuchJobError, InvalidJobOperation):
            job = ServiceJob.fetch(job_id, connection=self.desk.redis, serializer=JSONSerializer)
            if how == "delete" and job.is_started:
                return  # RQ leaves its execution behind; that is RQ's
            getattr(job, how)()
            if how != "cancel":
                (self.erased if how == "delete" else self.again).add(job_id)

    @rule()
    def recount(self) -> None:
        self.desk.redis.delete(keys.WORK_LOCK)
        assert recount(self.desk.redis)
        self.around = False

    @invariant()
    def the_books_are_in_order(self) -> None:
        require_books_in_order(self.desk)
        entries = {job_id: entry.lane for job_id, entry in self.desk.ledger().items()}
        if not self.around:
            assert entries == lanes_as_rq_has_them(self.desk)


def test_jobs_moved_in_any_order_are_counted_where_they_are(redis_url: str) -> None:
    machine = type("Machine", (Moves,), {"url": redis_url})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            phases=[Phase.generate],
        ),
    )


class Crowd:
    """Threads that submit, cancel, work, die and tidy up at the same time, on one Redis."""

    def __init__(self, url: str, jobs: int) -> None:
        self.url, self.jobs = url, jobs
        self.accepted: set[str] = set()
        self.lent: list[list[str]] = []
        """Executions of workers that died or stand still."""
        self.over = threading.Event()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """Until every job has ended."""
        parts = [self.submit, self.submit, self.cancel, self.work, self.work, self.tidy, self.tidy]
        threads = [threading.Thread(target=self._guarded, args=(part, n)) for n, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        with Redis.from_url(self.url) as redis:
            while not self.over.is_set() and not self._all_ended(redis):
                self.over.wait(0.05)
        self.over.set()
        for thread in threads:
            thread.join()
        assert not self.errors, self.errors

    def _guarded(self, part: Callable[[Desk, random.Random], None], n: int) -> None:
        desk = Desk(self.url)
        try:
            part(desk, random.Random(n))
        except BaseException as error:  # noqa: BLE001  # told by the thread that joins
            self.errors.append(error)
            self.over.set()
        finally:
            desk.redis.close()

    def _all_ended(self, redis: Redis) -> bool:
        accepted = sorted(self.accepted)
        with redis.pipeline(transaction=False) as pipe:
            for job_id in accepted:
                pipe.hget(f"rq:job:{job_id}", "status")
            ended = all(status is not None and status.decode() in ENDED for status in pipe.execute())
        return len(accepted) == 2 * self.jobs and ended

    def submit(self, desk: Desk, rng: random.Random) -> None:
        """Submit all jobs of one of two callers."""
        caller = f"caller-{rng.random()}"
        for _ in range(self.jobs):
            steps, priority = rng.choice((2, 10, 200)), rng.choice(("normal", "low"))
            self.accepted.add(desk.submit(caller=caller, steps=steps, priority=priority).id)

    def cancel(self, desk: Desk, rng: random.Random) -> None:
        """Cancel now and then."""
        while not self.over.wait(0.005):
            if self.accepted:
                desk.cancel(rng.choice(sorted(self.accepted)))

    def work(self, desk: Desk, rng: random.Random) -> None:
        """Claim, and finish, stop, give back, die with, or come too late for what was claimed."""
        while not self.over.is_set():
            worker = worker_name("here", rng.randrange(1, 99), rng.getrandbits(60))
            claimed = desk.claim_all(worker)
            held = [desk.live(one) for one in claimed[:-1]]
            self.lent.append([one.execution.composite_key for one in claimed[-1:]])  # its worker never heard of it
            for live in held:
                desk.progress(live, rng.randrange(10))
            part = rng.randrange(len(held) + 1)
            fate = rng.randrange(5)
            if fate == 0:
                self.lent.append([live.key for live in held])
            elif fate == 1 and held[part:]:
                desk.give_back(worker, held[part:], crashed=rng.random() < 0.1)
                held = held[:part]
            for live in held if fate else held[:part]:
                if rng.random() < 0.2:
                    desk.stop(worker, live)
                else:
                    desk.finish(worker, live, failure=FAILED if rng.random() < 0.2 else None)
            self.over.wait(0.001)

    def tidy(self, desk: Desk, rng: random.Random) -> None:
        """Take back, put back and recount, all the time."""
        seen = 0
        while not self.over.wait(0.005):
            # Each of the threads takes back all of them.
            for executions in self.lent[seen:]:
                take_back(desk.redis, executions, crashed=rng.random() < 0.1)
                seen += 1
            desk.redis.delete(keys.WORK_LOCK)
            recount(desk.redis)


def test_many_at_once_lose_nothing_and_count_nothing_twice(redis_url: str) -> None:
    crowd = Crowd(redis_url, jobs=40)
    crowd.run()
    desk = Desk(redis_url)
    require_books_in_order(desk)
    require_all_ended_once(desk, crowd.accepted)
    desk.redis.close()
