"""FastAPI as this service describes itself by it."""

from typing import Any

from fastapi import FastAPI

from app.examples import COST, JOB, MODEL, SAMPLER, STATS
from app.problems import SCHEMA

EXAMPLES = {"JobView": JOB, "CostView": COST, "ModelView": MODEL, "SamplerView": SAMPLER, "StatsView": STATS}


class Application(FastAPI):
    """FastAPI, but errors have a schema, and examples keep their nulls: what is not known is null, never absent."""

    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        described = super().openapi()
        described["components"]["schemas"]["Problem"] = SCHEMA
        for name, example in EXAMPLES.items():
            described["components"]["schemas"][name]["examples"] = [example]
        return described
