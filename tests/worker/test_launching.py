"""A tick that is launched before the one before it is read: on a make-believe card, and on a real one."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from tests.worker.engines import CPU, alone, row, run, toy_model
from worker.device import Work, is_out_of_memory
from worker.engine import Engine
from worker.flight import Stage
from worker.ladder import Ladder
from worker.row import RowDone, RowFailed

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
SIZES = (2, 4, 8)


@dataclass
class MakeBelieveCard:
    """Computes on the CPU, tells what it was asked for, and has as little memory as it is told.

    `replayed` and `waited` count in the order in which things happen; a recorded size is named by its number
    in the order of recording, the largest size first.
    """

    torch_device: torch.device = CPU
    lag: int = 1
    pinned: bool = False
    graphs: bool = True
    fails: Callable[[int], Exception | None] = lambda attempt: None
    attempts: int = 0
    released: int = 0
    events: list[str] = field(default_factory=list)
    launches: int = 0

    def mark(self) -> Work:
        number = self.launches
        return lambda: self.events.append(f"read {number}")

    def record(self, work: Work) -> Work:
        attempt, self.attempts = self.attempts, self.attempts + 1
        failure = self.fails(attempt)
        if failure is not None:
            raise failure
        work()

        def replay() -> None:
            self.launches += 1
            self.events.append(f"launch {self.launches}")
            work()

        return replay

    def release_memory(self) -> None:
        self.released += 1


def card_engine(card: MakeBelieveCard, pool_rows: int = 8, sizes: tuple[int, ...] = SIZES) -> Engine:
    model = toy_model()

    def forward(x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        out: torch.Tensor = model.network(x, timesteps, labels, return_dict=False)[0]
        return out

    engine = Engine(model, forward, Ladder(sizes), pool_rows, card)
    engine.prepare()
    card.events.clear()
    return engine


def out_of_memory_at(*attempts: int) -> Callable[[int], Exception | None]:
    return lambda attempt: torch.OutOfMemoryError("no memory") if attempt in attempts else None


def test_every_size_is_recorded_once_the_largest_first_and_no_row_is_touched() -> None:
    seen: list[int] = []
    card = MakeBelieveCard()
    engine = card_engine(card)
    evaluate = engine.executor._evaluate
    engine.executor._evaluate = lambda size: seen.append(size) or evaluate(size)  # type: ignore[assignment, method-assign]
    engine.prepare()
    assert seen == [8, 4, 2]
    pool = engine._pool
    for tensor in (pool.sample, pool.x0_prev, pool.x0_prev2, pool.noise):
        assert not tensor[: pool.spill].any(), "padding reads zeros and writes to the spill row"


def test_a_tick_replays_what_was_recorded_and_calls_nothing_else() -> None:
    card = MakeBelieveCard()
    engine = card_engine(card)
    engine.executor._evaluate = lambda size: pytest.fail("not recorded")  # type: ignore[assignment, method-assign]
    engine.add([row(str(n), seed=n, steps=3) for n in range(3)])
    run(engine)
    assert card.launches == 3
    assert card.attempts == len(SIZES)


def test_a_tick_is_launched_before_the_one_before_it_is_read() -> None:
    card = MakeBelieveCard()
    engine = card_engine(card)
    engine.add([row(steps=3)])
    left = [engine.tick().left for _ in range(3)]
    assert left == [(), (), ()], "the picture is computed, but not read"
    assert not engine.idle
    assert card.events == ["launch 1", "launch 2", "read 1", "launch 3", "read 2"]
    assert engine.tick().left == (RowDone("job", 0, alone(row(steps=3))),)
    assert card.events[-1] == "read 3"
    assert engine.idle


def test_rows_of_all_kinds_are_what_they_are_without_a_card() -> None:
    draw = random.Random(3)
    requests = [
        row(
            f"job{n}",
            sampler=draw.choice(SAMPLERS),
            steps=draw.choice((1, 2, 5, 10)),
            seed=n,
            class_label=n % 2,
            guidance_scale=draw.choice((1.0, 2.5)),
            animate=draw.choice((False, True)),
        )
        for n in range(40)
    ]
    engine = card_engine(MakeBelieveCard())
    engine.add(requests)
    left = []
    while not engine.idle:
        left += engine.tick().left
        engine.previews({f"job{n}" for n in range(0, 40, 3)})
    by_key = {one.key: one for one in left}
    assert len(left) == len(by_key) == 40
    for request in requests:
        engine = card_engine(MakeBelieveCard(lag=0))
        engine.add([request])
        assert [by_key[request.key]] == run(engine)
        assert by_key[request.key].pixels == alone(request)


def test_a_nan_row_is_found_a_tick_later_and_fails_once() -> None:
    card = MakeBelieveCard()
    engine = card_engine(card, pool_rows=2)
    engine.add([row("poisoned", steps=2), row("neighbour", steps=10, seed=1), row("next", steps=4, seed=2)])
    engine.tick()
    engine._pool.sample[next(s for s, t in engine._tenants.items() if t.request.key == "poisoned")] = float("nan")
    assert engine.tick().left == (), "its last evaluation is launched, and it is NaN"
    failed, *done = run(engine)
    assert isinstance(failed, RowFailed)
    assert (failed.key, failed.code) == ("poisoned", "not_finite")
    assert {one.key: one for one in done} == {
        "neighbour": RowDone("neighbour", 0, alone(row(steps=10, seed=1))),
        "next": RowDone("next", 0, alone(row(steps=4, seed=2))),
    }


def test_a_nan_row_that_has_been_launched_again_fails_once() -> None:
    engine = card_engine(MakeBelieveCard())
    engine.add([row("poisoned", steps=50)])
    engine.tick()
    engine._pool.sample[next(iter(engine._tenants))] = float("nan")
    (failed,) = run(engine)
    assert isinstance(failed, RowFailed)


def test_a_row_removed_while_its_last_evaluation_is_under_way_is_not_heard_of_and_its_place_is_free() -> None:
    engine = card_engine(MakeBelieveCard(), pool_rows=1)
    engine.add([row("gone", steps=2), row("next", steps=3, seed=5)])
    engine.tick()
    engine.tick()
    engine.remove("gone")
    assert run(engine) == [RowDone("next", 0, alone(row(steps=3, seed=5)))]


def test_launches_under_way_share_no_memory_of_the_host_and_memory_is_used_again() -> None:
    made: list[Stage] = []
    engine = card_engine(MakeBelieveCard())
    taken = engine.executor._stage

    def stage() -> Stage:
        one = taken()
        assert all(one is not flight.stage for flight in engine._under_way)
        made.append(one)
        return one

    engine.executor._stage = stage  # type: ignore[method-assign]
    engine.add([row(str(n), sampler="ddpm", seed=n, steps=20) for n in range(8)])
    run(engine)
    assert len(made) == 20
    assert len({id(one) for one in made}) == 2


def test_noise_is_drawn_while_the_tick_before_is_under_way() -> None:
    engine = card_engine(MakeBelieveCard(), pool_rows=9)
    engine.add([*(row(f"older{n}", steps=9) for n in range(4)), row("job", sampler="ddpm", steps=5)])
    engine.tick()
    tenant = next(tenant for tenant in engine._tenants.values() if tenant.request.key == "job")
    before = tenant.generator.get_state()
    drawn = engine._pool.noise[tenant.slot].clone()
    assert drawn.any(), "the noise of the coming evaluation lies beside its row"
    engine.add([row(str(n), steps=1, seed=n) for n in range(4)])
    engine.tick()
    assert tenant.step == 1, "older rows and shorter ones went first"
    assert torch.equal(engine._pool.noise[tenant.slot], drawn), "and stays there while the row is parked"
    assert torch.equal(tenant.generator.get_state(), before)


def test_a_size_without_memory_leaves_the_ladder_and_the_rest_goes_on() -> None:
    card = MakeBelieveCard(fails=out_of_memory_at(0))
    engine = card_engine(card)
    assert engine.executor.ladder.sizes == (2, 4)
    assert card.released == 1
    engine.add([row(str(n), seed=n, steps=4) for n in range(8)])
    assert engine.tick().places == 4
    assert {one.pixels for one in run(engine)} == {alone(row(seed=n, steps=4)) for n in range(8)}  # type: ignore[union-attr]


def test_too_little_memory_for_two_places_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        card_engine(MakeBelieveCard(fails=out_of_memory_at(0, 1)), sizes=(1, 2))


def test_a_network_that_cannot_be_captured_is_run_kernel_by_kernel() -> None:
    card = MakeBelieveCard(fails=lambda attempt: RuntimeError("capture is not allowed here"))
    engine = card_engine(card)
    assert engine.executor.ladder.sizes == SIZES
    engine.add([row(steps=4)])
    assert run(engine) == [RowDone("job", 0, alone(row(steps=4)))]
    assert card.launches == 0


def test_memory_that_runs_out_in_a_tick_shortens_the_ladder_and_loses_no_row() -> None:
    model, sizes = toy_model(), []

    def forward(x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("no memory")
        out: torch.Tensor = model.network(x, timesteps, labels, return_dict=False)[0]
        return out

    engine = Engine(model, forward, Ladder(SIZES), 8, MakeBelieveCard())
    requests = [row(str(n), seed=n, sampler="ddpm", steps=4) for n in range(6)]
    engine.add(requests)
    left = {one.key: one for one in run(engine)}
    assert left == {request.key: RowDone(request.key, 0, alone(request)) for request in requests}
    assert sizes.count(8) == sizes.count(4) == 1, "a size that did not fit is not tried again"


def test_a_card_that_has_failed_is_no_fault_of_a_row() -> None:
    model = toy_model()

    def forward(x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        raise torch.AcceleratorError("an illegal memory access was encountered")

    engine = Engine(model, forward, Ladder(SIZES), 8, MakeBelieveCard())
    engine.add([row()])
    with pytest.raises(torch.AcceleratorError):
        engine.tick()


def test_out_of_memory_is_recognised_behind_the_error_of_the_capture() -> None:
    behind = RuntimeError("operation failed due to a previous error during capture")
    behind.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    assert is_out_of_memory(behind)
    assert is_out_of_memory(RuntimeError("CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


# On a real card

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card, and there is none here")


@needs_cuda
@pytest.mark.parametrize("graphs", [False, True])
def test_a_card_makes_the_pictures_of_the_cpu(graphs: bool) -> None:
    from worker.device import device_of

    model = toy_model()
    model.network.to("cuda")

    def forward(x: torch.Tensor, timesteps: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        out: torch.Tensor = model.network(x, timesteps, labels, return_dict=False)[0]
        return out

    engine = Engine(model, forward, Ladder(SIZES), 8, device_of(torch.device("cuda"), graphs))
    engine.prepare()
    assert engine.executor.ladder.sizes == SIZES
    requests = [
        row(str(n), sampler=SAMPLERS[n % 5], seed=n, steps=6, guidance_scale=1.0 + n % 2) for n in range(20)
    ]
    engine.add(requests)
    left = {one.key: one for one in run(engine)}
    for request in requests:
        done = left[request.key]
        assert isinstance(done, RowDone)
        ours, theirs = (
            torch.frombuffer(bytearray(p), dtype=torch.uint8).int() for p in (done.pixels, alone(request))
        )
        assert (ours - theirs).abs().max() <= 1
