"""FastAPI as this service describes itself by it."""

from typing import Any

from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder

from app.examples import COST, JOB, MODEL, SAMPLER, STATS
from app.problems import SCHEMA
from app.routes.openai import ImagesRequest
from jobs.request import JobRequest

EXAMPLES = {"JobView": JOB, "CostView": COST, "ModelView": MODEL, "SamplerView": SAMPLER, "StatsView": STATS}


class Application(FastAPI):
    """FastAPI, but errors have a schema, and examples keep their nulls: what is not known is null, never absent."""

    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        described = super().openapi()
        schemas = described["components"]["schemas"]
        schemas["Problem"] = SCHEMA
        # Bodies are read by `app.body`, not by FastAPI, which therefore knows nothing of them.
        for kind in (JobRequest, ImagesRequest):
            schemas[kind.__name__] = jsonable_encoder(kind.model_json_schema(), exclude_none=True)
        for name, example in EXAMPLES.items():
            schemas[name]["examples"] = [example]
        return described
