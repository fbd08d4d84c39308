"""Sampler tables, compiled once for all rows that walk the same way and stacked, so that a tick gathers once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.latents import start_of_walk
from models.noise_schedule import NoiseSchedule
from models.samplers import SAMPLERS, SamplerTable, compile_table
from models.samplers.table import COLUMNS
from models.spacing import timesteps_for
from worker.row import RowRequest

TABLES_KEPT = 256
CLIP, THRESHOLDED = len(COLUMNS), len(COLUMNS) + 1
WIDTH = len(COLUMNS) + 2
"""Numbers of an evaluation: the coefficients, the range of x0, and 1 where x0 is thresholded."""

Key = tuple[str, int, float, str, int]


@dataclass
class CompiledTable:
    """A table in the stack of `Tables`, where it is `number`; `draws_noise` has a boolean for each evaluation."""

    number: int
    table: SamplerTable
    draws_noise: tuple[bool, ...]
    users: int = 0
    """Rows in the pool that walk by it."""

    @property
    def evaluations(self) -> int:
        """E, how often a row goes through the network."""
        return self.table.evaluations


class Tables:
    """The tables of one model, rounded to float32 once.

    `TABLES_KEPT` stay beyond those that the rows of the pool walk by; then the oldest that nobody uses goes.
    """

    def __init__(self, schedule: NoiseSchedule, pool_rows: int) -> None:
        self._schedule = schedule
        self._compiled: dict[Key, CompiledTable] = {}
        longest = schedule.num_train_timesteps * max(s.evaluations_per_step for s in SAMPLERS.values())
        count = TABLES_KEPT + pool_rows
        # Memory of zeros is not taken before it is written to, so a short table costs what it holds.
        self._numbers = np.zeros((count, longest, WIDTH), dtype=np.float32)
        self._timesteps = np.zeros((count, longest), dtype=np.int64)

    def of(self, row: RowRequest) -> CompiledTable:
        """The table of a row; without users, it may be gone at the next call. Raises `InvalidSampling`."""
        timesteps = timesteps_for(self._schedule, row.steps, row.timestep_spacing)
        start = start_of_walk(len(timesteps), row.walked_steps)
        key = (row.sampler, row.steps, row.eta, row.timestep_spacing, start)
        if key not in self._compiled:
            table = compile_table(
                self._schedule, row.sampler, row.steps, eta=row.eta, spacing=row.timestep_spacing, start=start
            )
            self._compiled[key] = self._stack(table)
        return self._compiled[key]

    def gather(
        self, numbers: Sequence[int], steps: Sequence[int]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """What evaluation `steps[n]` of table `numbers[n]` is told: its numbers (R, WIDTH), its timestep (R,)."""
        where = np.array(numbers, dtype=np.int64), np.array(steps, dtype=np.int64)
        return self._numbers[where], self._timesteps[where]

    def _stack(self, table: SamplerTable) -> CompiledTable:
        number, evaluations = self._free_number(), table.evaluations
        numbers = self._numbers[number, :evaluations]
        numbers[:, : len(COLUMNS)] = table.coefficients
        numbers[:, CLIP] = table.clip
        numbers[:, THRESHOLDED] = table.thresholding is not None
        self._timesteps[number, :evaluations] = table.timesteps
        draws = tuple(bool(c != 0.0) for c in table.column("c_noise"))
        return CompiledTable(number, table, draws)

    def _free_number(self) -> int:
        if len(self._compiled) < len(self._numbers):
            return len(self._compiled)
        oldest = next(key for key, compiled in self._compiled.items() if compiled.users == 0)
        return self._compiled.pop(oldest).number
