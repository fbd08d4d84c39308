"""Peer (c): LitServe with its own batching; within a batch the loop needs equal sampler and steps."""

import os
from collections import defaultdict
from typing import Any

import litserve
from fastapi import Response

from bench.peers.loop import Loop


class Pictures(litserve.LitAPI):  # type: ignore[misc]  # litserve has no types
    """The model behind LitServe."""

    def setup(self, device: str) -> None:
        """Load the model in the worker process."""
        self.loop = Loop()

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The body as it came."""
        return request

    def predict(self, bodies: list[dict[str, Any]]) -> list[bytes]:
        """PNGs in the order of the requests."""
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for n, body in enumerate(bodies):
            groups[body["sampler"], body["steps"]].append(n)
        pngs = [b""] * len(bodies)
        for members in groups.values():
            for n, png in zip(members, self.loop.generate([bodies[n] for n in members]), strict=True):
                pngs[n] = png
        return pngs

    def encode_response(self, output: bytes) -> Response:
        """The picture."""
        return Response(output, media_type="image/png")


if __name__ == "__main__":
    api = Pictures(max_batch_size=16, batch_timeout=0.05)
    server = litserve.LitServer(api, accelerator="cpu", timeout=3600, healthcheck_path="/ready")
    server.run(
        port=int(os.environ["BENCH_PORT"]), host="127.0.0.1", generate_client_file=False, log_level="warning"
    )
