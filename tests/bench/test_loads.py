"""What is asked for and when: the same for the same seed, whatever is measured."""

import itertools
from collections import Counter

from bench.load import SAMPLERS, STEPS, background, evaluations, greedy, mixed, poisson
from bench.poisson import uncounted_until
from bench.report import over, percentile, spread


def test_every_sampler_meets_every_step_count_equally_often() -> None:
    bodies = mixed(30, seed=3)
    pairs = Counter((body["sampler"], body["steps"]) for body in bodies)
    assert pairs == dict.fromkeys(itertools.product(SAMPLERS, STEPS), 2)
    assert evaluations(bodies) == 2 * len(SAMPLERS) * sum(STEPS)


def test_a_seed_decides_a_load_and_no_two_jobs_share_a_seed() -> None:
    assert mixed(30, seed=3) == mixed(30, seed=3) != mixed(30, seed=4)
    assert len({body["seed"] for seed in range(3) for body in mixed(30, seed)}) == 90


def test_arrivals_do_not_wait_for_answers_and_keep_their_rate() -> None:
    arrivals = poisson(mixed(3000), rate_per_s=10, seed=1)
    times = [one.at_s for one in arrivals]
    assert times == sorted(times)
    assert 280 < times[-1] < 320, "3000 at 10 a second"
    assert arrivals == poisson(mixed(3000), rate_per_s=10, seed=1)


def test_a_warm_up_is_sent_like_the_rest_and_told_apart() -> None:
    arrivals = poisson(mixed(300), rate_per_s=10, seed=1)
    marked = uncounted_until(5.0, arrivals)
    assert [(one.at_s, one.body) for one in marked] == [(one.at_s, one.body) for one in arrivals]
    assert {one.kind for one in marked if one.at_s < 5.0} == {"warm-up"}
    assert {one.kind for one in marked if one.at_s >= 5.0} == {"all"}


def test_the_greedy_caller_is_one_and_the_others_are_many() -> None:
    callers = Counter(one.caller for one in greedy(seed=0))
    assert callers.pop("greedy") == 60
    assert set(callers.values()) == {1}
    assert len(callers) >= 7


def test_what_may_wait_is_of_low_priority() -> None:
    found = {(one.kind, one.body.get("priority", "normal")) for one in background(seed=0)}
    assert found == {("ddpm-1000", "low"), ("ddim-20", "normal")}


def test_figures_are_told_with_their_spread() -> None:
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert [percentile([4, 1, 3, 2], share) for share in (0.5, 0.95, 0.99)] == [2, 4, 4]
    assert over([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
