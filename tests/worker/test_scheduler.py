"""Who is computed next: short work first, and nobody waits for ever."""

import pytest

from worker.scheduler import BatchScheduler


def filled(capacity: int, rows: list[tuple[str, int, int]]) -> tuple[BatchScheduler[str], dict[int, str]]:
    """A scheduler with rows of (name, places, evaluations), all admitted, and the name in each slot."""
    scheduler: BatchScheduler[str] = BatchScheduler(range(1, capacity + 1), pool_rows=len(rows))
    names = {}
    for name, places, evaluations in rows:
        scheduler.add(name)
        admitted, slot = scheduler.admit()
        scheduler.start(slot, places, evaluations)
        names[slot] = admitted
    return scheduler, names


def chosen(scheduler: BatchScheduler[str], names: dict[int, str]) -> set[str]:
    return {names[slot] for slot in scheduler.choose()}


def test_a_short_row_goes_before_a_full_batch_of_long_ones() -> None:
    rows = [(f"long{n}", 1, 1000) for n in range(4)] + [("short", 1, 10)]
    scheduler, names = filled(4, rows)
    assert "short" in chosen(scheduler, names)


def test_rows_of_equal_length_keep_their_order_instead_of_taking_turns() -> None:
    scheduler, names = filled(2, [("a", 1, 50), ("b", 1, 50), ("c", 1, 50)])
    for _ in range(40):
        assert chosen(scheduler, names) == {"a", "b"}


def test_a_long_row_is_not_starved_by_an_endless_stream_of_short_ones() -> None:
    scheduler: BatchScheduler[str] = BatchScheduler((1, 2), pool_rows=8)
    scheduler.add("long")
    _, long_slot = scheduler.admit()
    scheduler.start(long_slot, 2, 100)
    computed = ticks = 0
    while computed < 100:
        ticks += 1
        assert ticks < 2000, "the long row starved"
        while len(scheduler._residents) < 8:
            scheduler.add("short")
            _, slot = scheduler.admit()
            scheduler.start(slot, 1, 10)
        slots = scheduler.choose()
        computed += long_slot in slots
        for resident in list(scheduler._residents.values()):
            if resident.remaining == 0 and resident.slot != long_slot:
                scheduler.release(resident.slot)


@pytest.mark.parametrize("evaluations", [50, 1000])
def test_a_short_row_goes_along_however_long_others_have_waited_and_how_many_they_are(evaluations: int) -> None:
    scheduler: BatchScheduler[str] = BatchScheduler(range(1, 17), pool_rows=40)
    scheduler.use(range(1, 17), quick=4)
    for slot in range(32):
        scheduler.start(slot, 1, evaluations)
    for _ in range(3 * evaluations):
        scheduler.choose()
    scheduler.start(39, 1, 10)
    assert all(39 in scheduler.choose() for _ in range(10))


def test_the_row_that_came_first_goes_along_in_every_tick_also_when_all_others_are_shorter() -> None:
    rows = [("guided", 2, 30), *((f"short{n}", 1, 40 - n) for n in range(20))]
    scheduler, names = filled(2, rows)
    assert all(chosen(scheduler, names) == {"guided"} for _ in range(30))


def test_half_of_a_tick_is_for_the_oldest_and_half_for_those_that_are_done_soonest() -> None:
    lengths = [90, 80, 70, 60, 50, 40, 30, 20]
    scheduler, names = filled(4, [(str(length), 1, length) for length in lengths])
    assert chosen(scheduler, names) == {"90", "80", "30", "20"}


def test_a_tick_is_as_small_as_is_efficient_and_grows_with_what_is_ready() -> None:
    scheduler: BatchScheduler[str] = BatchScheduler((1, 2, 4, 6, 8, 12), pool_rows=64)
    scheduler.use((1, 2, 4, 6, 8, 12), quick=4)
    sizes = []
    for slot in range(40):
        scheduler.start(slot, 1, 1000)
        sizes.append(len(scheduler.choose()))
    assert sizes[:4] == [1, 2, 3, 4]
    assert sizes[11] == 4, "12 are ready, and a third of them are 4"
    assert sizes[12] == 6, "5 would be padded to 6"
    assert sizes[18] == 8
    assert sizes[39] == 12, "never more than the largest"


def test_until_it_is_known_what_is_efficient_a_tick_takes_all_it_can() -> None:
    scheduler, names = filled(8, [(str(n), 1, 9) for n in range(8)])
    assert len(chosen(scheduler, names)) == 8
    scheduler.use((1, 2), quick=1)
    assert len(chosen(scheduler, names)) == 2, "a guided row has to fit, so quick is never below two"


def test_a_batch_never_holds_more_places_than_its_capacity() -> None:
    scheduler, names = filled(5, [("a", 2, 9), ("b", 2, 9), ("c", 2, 9), ("d", 1, 30)])
    assert chosen(scheduler, names) == {"a", "b", "d"}, "two guided rows and the single one that still fits"


def test_waiting_rows_are_admitted_in_order_as_places_become_free() -> None:
    scheduler: BatchScheduler[str] = BatchScheduler((1, 2), pool_rows=2)
    for name in ("a", "b", "c"):
        scheduler.add(name)
    slots = {}
    while scheduler.can_admit():
        name, slot = scheduler.admit()
        slots[name] = slot
        scheduler.start(slot, 1, 5)
    assert list(slots) == ["a", "b"]
    scheduler.release(slots["a"])
    assert scheduler.admit()[0] == "c"


def test_dropped_rows_are_forgotten_and_the_scheduler_becomes_idle() -> None:
    scheduler: BatchScheduler[str] = BatchScheduler((1, 2), pool_rows=1)
    scheduler.add("x1")
    scheduler.add("y")
    scheduler.drop_waiting(lambda name: name.startswith("x"))
    name, slot = scheduler.admit()
    assert name == "y"
    scheduler.release(slot)
    assert scheduler.idle


def test_a_capacity_that_cannot_hold_a_guided_row_is_refused() -> None:
    with pytest.raises(ValueError, match="two places"):
        BatchScheduler((1,), pool_rows=4)
