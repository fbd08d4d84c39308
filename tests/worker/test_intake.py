"""Which jobs a worker takes next, and how many, from real lanes."""

from collections import Counter

import pytest
from redis import Redis

from jobs.lanes import Lane, Length
from jobs.spec import Priority
from worker.consumer.intake import LOW_FIRST_EVERY, MOST_AT_ONCE, Intake

PLACES = 8


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


@pytest.fixture
def intake(redis: Redis) -> Intake:
    return Intake(redis, ["m"], PLACES)


def fill(
    redis: Redis, bucket: int, length: Length = Length.SHORT, jobs: int = 100, priority: Priority = "normal"
) -> str:
    """A lane with jobs in it; its name."""
    name = Lane("m", priority, length, bucket).name
    redis.rpush(f"rq:queue:{name}", *(f"{name}-{n}" for n in range(jobs)))
    return name


def taken(intake: Intake, rows_held: int) -> Counter[str]:
    """By lane, how many jobs were taken."""
    return Counter(queue.name for queue, _ in intake.take(rows_held))


def test_a_lane_gives_as_many_jobs_at_once_as_there_is_room_for(redis: Redis, intake: Intake) -> None:
    short = fill(redis, 0)
    assert taken(intake, 0) == {short: 2 * PLACES}
    assert taken(intake, 2 * PLACES - 3) == {short: 3}
    assert taken(intake, 2 * PLACES) == {}


def test_they_come_in_the_order_in_which_they_were_queued(redis: Redis, intake: Intake) -> None:
    name = fill(redis, 0, jobs=3)
    assert [job_id for _, job_id in intake.take(0)] == [f"{name}-{n}" for n in range(3)]


def test_long_work_is_taken_for_free_places_alone(redis: Redis, intake: Intake) -> None:
    long, short = fill(redis, 0, Length.LONG), fill(redis, 1, jobs=3)
    first = taken(intake, 0)
    assert first[short] == 3
    assert first[long] <= PLACES
    assert taken(intake, PLACES - 2) == {long: 2}
    assert taken(intake, PLACES) == {}


def test_lanes_take_turns_however_full_they_are(redis: Redis, intake: Intake) -> None:
    greedy, modest, single = fill(redis, 0, jobs=1000), fill(redis, 3, jobs=1000), fill(redis, 5, jobs=1)
    assert taken(intake, 2 * PLACES - 7) == {greedy: 3, modest: 3, single: 1}


def test_with_room_for_one_another_lane_is_first_each_time(redis: Redis, intake: Intake) -> None:
    names = [fill(redis, bucket) for bucket in range(3)]
    seen = [next(iter(taken(intake, 2 * PLACES - 1))) for _ in range(6)]
    assert sorted(seen[:3]) == sorted(seen[3:]) == sorted(names)


def test_after_jobs_of_many_images_fewer_are_taken(redis: Redis, intake: Intake) -> None:
    short = fill(redis, 0)
    intake.learn([16, 16])
    assert taken(intake, 0) == {short: 1}
    intake.learn([4])
    assert taken(intake, 0) == {short: 4}
    intake.learn([16])
    assert taken(intake, 2 * PLACES - 1) == {short: 1}, "a free place is enough for one"


def test_now_and_then_one_low_job_of_each_lane_goes_first(redis: Redis, intake: Intake) -> None:
    normal, low, other = fill(redis, 0, jobs=1000), fill(redis, 1, priority="low"), fill(redis, 2, priority="low")
    counts = [taken(intake, 0) for _ in range(2 * LOW_FIRST_EVERY)]
    assert counts.count(Counter({low: 1, other: 1})) == 2
    assert counts.count(Counter({normal: 2 * PLACES})) == 2 * LOW_FIRST_EVERY - 2


def test_low_work_fills_the_room_when_there_is_nothing_else(redis: Redis, intake: Intake) -> None:
    low = fill(redis, 1, priority="low")
    assert taken(intake, 0) == {low: 2 * PLACES}


def test_one_claim_is_never_huge(redis: Redis) -> None:
    short = fill(redis, 0, jobs=1000)
    assert taken(Intake(redis, ["m"], 512), 0) == {short: MOST_AT_ONCE}
