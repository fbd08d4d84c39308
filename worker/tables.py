"""Sampler tables in the form that a tick gathers from, compiled once for all rows that walk the same way."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.latents import start_of_walk
from models.noise_schedule import NoiseSchedule
from models.samplers import SamplerTable, compile_table
from models.spacing import timesteps_for
from worker.row import RowRequest

TABLES_KEPT = 256


@dataclass(frozen=True)
class CompiledTable:
    """A table rounded to float32.

    `columns` is (E, 10) float32, `timesteps` E ints, `draws_noise` E booleans, `clip` the range of x0.
    """

    table: SamplerTable
    columns: Tensor
    timesteps: tuple[int, ...]
    draws_noise: tuple[bool, ...]
    clip: float

    @classmethod
    def of(cls, table: SamplerTable) -> "CompiledTable":
        """Round a float64 table to float32 once."""
        return cls(
            table=table,
            columns=torch.tensor(table.coefficients, dtype=torch.float32),
            timesteps=tuple(int(t) for t in table.timesteps),
            draws_noise=tuple(bool(c != 0.0) for c in table.column("c_noise")),
            clip=table.clip,
        )


class Tables:
    """The tables of one model; the oldest goes when there are `TABLES_KEPT`."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        self._compiled: dict[tuple[str, int, float, str, int], CompiledTable] = {}

    def of(self, row: RowRequest) -> CompiledTable:
        """The table of a row. Raises `models.errors.InvalidSampling`."""
        timesteps = timesteps_for(self._schedule, row.steps, row.timestep_spacing)
        start = start_of_walk(len(timesteps), row.walked_steps)
        key = (row.sampler, row.steps, row.eta, row.timestep_spacing, start)
        if key not in self._compiled:
            if len(self._compiled) >= TABLES_KEPT:
                self._compiled.pop(next(iter(self._compiled)))
            table = compile_table(
                self._schedule, row.sampler, row.steps, eta=row.eta, spacing=row.timestep_spacing, start=start
            )
            self._compiled[key] = CompiledTable.of(table)
        return self._compiled[key]
