"""An engine without a network: rows leave when the test says so. For speed, beside the real one."""

from collections.abc import Mapping

from worker.engine_client import EngineClient, EngineDied
from worker.row import RowDone, RowFailed, RowRequest


class FakeEngine(EngineClient):
    """Keeps the rows it is given; `finish` lets one leave."""

    def __init__(self, height: int, width: int) -> None:
        self.rows: dict[tuple[str, int], RowRequest] = {}
        self._leaving: list[RowDone | RowFailed] = []
        self._pixels = bytes(height * width * 3)
        self.killed = self.dead = False
        self.silence_s = 0.0
        self.done: dict[str, int] = {}

    def add(self, rows: list[RowRequest]) -> None:
        self.rows.update({(row.key, row.index): row for row in rows})

    def remove(self, key: str) -> None:
        self.rows = {name: row for name, row in self.rows.items() if name[0] != key}

    def finish(self, key: str | None = None, failure: tuple[str, str] | None = None) -> None:
        """Let the rows of an execution leave, or all."""
        for name in [name for name in self.rows if key in (None, name[0])]:
            row = self.rows.pop(name)
            if failure:
                self._leaving.append(RowFailed(row.key, row.index, *failure))
            else:
                self._leaving.append(RowDone(row.key, row.index, self._pixels))

    def take_left(self) -> list[RowDone | RowFailed]:
        if self.dead:
            raise EngineDied("the fake engine died")
        left, self._leaving = self._leaving, []
        return left

    def wait(self, timeout_s: float) -> None:
        """No time passes."""

    def completed(self) -> Mapping[str, int]:
        return self.done

    def kill(self) -> None:
        self.killed = self.dead = True

    @property
    def silent_s(self) -> float:
        return self.silence_s
