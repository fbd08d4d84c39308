"""Peer (b): requests with equal sampler and steps that arrive within 50 ms are computed together."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from bench.peers.loop import Loop

WINDOW_S = 0.05
MAX_BATCH = int(os.environ.get("BENCH_MAX_BATCH", "16"))

Waiting = tuple[dict[str, Any], "asyncio.Future[bytes]"]


class Batcher:
    """Groups of requests, computed one group after the other, the oldest first."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.groups: dict[tuple[str, int], list[Waiting]] = {}
        self.arrived = asyncio.Event()

    async def picture(self, body: dict[str, Any]) -> bytes:
        """Join a group and wait."""
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.groups.setdefault((body["sampler"], body["steps"]), []).append((body, done))
        self.arrived.set()
        return await done

    async def run(self) -> None:
        """Take the oldest group once its window has passed."""
        while True:
            await self.arrived.wait()
            await asyncio.sleep(WINDOW_S)
            while self.groups:
                key = next(iter(self.groups))
                group, rest = self.groups[key][:MAX_BATCH], self.groups.pop(key)[MAX_BATCH:]
                if rest:
                    self.groups[key] = rest
                pngs = await asyncio.to_thread(self.loop.generate, [body for body, _ in group])
                for (_, done), png in zip(group, pngs, strict=True):
                    done.set_result(png)
            self.arrived.clear()


def create_app() -> FastAPI:
    """One route that waits."""
    batcher = Batcher()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.loop.generate([{"sampler": "ddim", "steps": 3, "seed": 0, "class_label": 0}] * 4)
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/predict")
    async def predict(body: dict[str, Any]) -> Response:
        return Response(await batcher.picture(body), media_type="image/png")

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), port=int(os.environ["BENCH_PORT"]), log_level="warning")
