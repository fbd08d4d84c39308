"""Samplers as tables of numbers."""

from models.samplers.registry import SAMPLERS, Sampler, compile_table
from models.samplers.table import COLUMNS, SamplerTable
from models.samplers.update import update

__all__ = ["COLUMNS", "SAMPLERS", "Sampler", "SamplerTable", "compile_table", "update"]
