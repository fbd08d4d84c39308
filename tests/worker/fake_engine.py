"""An engine without a network: rows leave when the test says so. For speed, beside the real one."""

from collections.abc import Mapping, Set

from worker.engine_client import EngineClient, EngineDied
from worker.meter import EngineMetrics, ModelMetrics
from worker.row import Preview, RowDone, RowFailed, RowRequest


class FakeEngine(EngineClient):
    """Keeps the rows it is given; `finish` lets one leave, `show` sends a preview of one that is watched."""

    def __init__(self, height: int, width: int) -> None:
        self.rows: dict[tuple[str, int], RowRequest] = {}
        self._leaving: list[RowDone | RowFailed] = []
        self.pixels = bytes(height * width * 3)
        self.frames = 2
        """Frames of an animated row."""
        self.killed = self.dead = False
        self.silence_s = 0.0
        self.done: dict[str, int] = {}
        self.watched: set[str] = set()
        self._previews: list[Preview] = []  # type: ignore[assignment]
        self.models: dict[str, ModelMetrics] = {}

    def add(self, rows: list[RowRequest]) -> None:
        self.rows.update({(row.key, row.index): row for row in rows})

    def remove(self, key: str) -> None:
        self.rows = {name: row for name, row in self.rows.items() if name[0] != key}

    def finish(
        self, key: str | None = None, failure: tuple[str, str] | None = None, index: int | None = None
    ) -> None:
        """Let the rows of an execution leave, or all, or those of one index."""
        for name in [name for name in self.rows if key in (None, name[0]) and index in (None, name[1])]:
            row = self.rows.pop(name)
            if failure:
                self._leaving.append(RowFailed(row.key, row.index, *failure))
            else:
                frames = self.pixels * self.frames if row.animate else b""
                self._leaving.append(RowDone(row.key, row.index, self.pixels, frames))

    def take_left(self) -> list[RowDone | RowFailed]:
        if self.dead:
            raise EngineDied("the fake engine died")
        left, self._leaving = self._leaving, []
        return left

    def wait(self, timeout_s: float) -> None:
        """No time passes."""

    def completed(self) -> Mapping[str, int]:
        return self.done

    def watch(self, keys: Set[str]) -> None:
        self.watched = set(keys)

    def show(self, key: str, index: int, completed: int) -> None:
        """Send a preview if it is wanted."""
        if key in self.watched:
            self._previews.append(Preview(key, index, self.pixels, completed))

    def take_previews(self) -> list[Preview]:
        taken, self._previews = self._previews, []  # type: ignore[assignment]
        return taken  # type: ignore[return-value]

    def metrics(self) -> EngineMetrics:
        return EngineMetrics(self.models)

    def kill(self) -> None:
        self.killed = self.dead = True

    @property
    def silent_s(self) -> float:
        return self.silence_s
