"""An engine that is done with a row as soon as it has it: what is left is the queue."""

from collections.abc import Mapping, Set

from jobs.catalogue import ModelCard, SamplerCard
from worker.engine_client import EngineClient, Serving
from worker.meter import EngineMetrics
from worker.row import Preview, RowDone, RowFailed, RowRequest

SIDE = 2
CARD = ModelCard(
    id="instant",
    fingerprint="none",
    height=SIDE,
    width=SIDE,
    class_names=(),
    guided=False,
    default_sampler="ddim",
    default_steps=10,
    default_guidance_scale=1.0,
    timestep_spacing="trailing",
    num_train_timesteps=1000,
    samplers=(SamplerCard(name="ddim", summary="", takes_eta=True, max_steps=1000, evaluations_per_step=1),),
)


class InstantEngine(EngineClient):
    """In this process, without a network."""

    def __init__(self) -> None:
        self._done: list[RowDone | RowFailed] = []

    def serving(self) -> Serving:
        """What it serves."""
        return Serving((CARD,), {CARD.id: "instant"})

    def add(self, rows: list[RowRequest]) -> None:
        """Every row is finished."""
        self._done += [RowDone(row.key, row.index, bytes(SIDE * SIDE * 3)) for row in rows]

    def take_left(self) -> list[RowDone | RowFailed]:
        """All of them."""
        done, self._done = self._done, []
        return done

    def remove(self, key: str) -> None:
        """Nothing is held."""

    def watch(self, keys: Set[str]) -> None:
        """There is nothing to see."""

    def take_previews(self) -> list[Preview]:
        """None."""
        return []

    def wait(self, timeout_s: float) -> None:
        """There is nothing to wait for."""

    def completed(self) -> Mapping[str, int]:
        """Nothing is under way."""
        return {}

    def metrics(self) -> EngineMetrics:
        """None."""
        return EngineMetrics({})

    @property
    def silent_s(self) -> float:
        """Never silent."""
        return 0.0
