"""Draws one picture and saves it: python examples/draw_httpx.py [URL] [FILE]. Needs httpx and nothing of ours."""

import json
import os
import sys
import time
import uuid
from pathlib import Path

import httpx

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("UNFOG_URL", "http://127.0.0.1:8000")
file = Path(sys.argv[2] if len(sys.argv) > 2 else "art.png")
key = os.environ.get("UNFOG_API_KEY")


def call(method: str, path: str, **options: object) -> httpx.Response:
    """The answer; ends the program with the reason if it is an error."""
    answer = client.request(method, path, **options)
    if answer.is_error:
        sys.exit(answer.json()["detail"])
    return answer


with httpx.Client(base_url=url, timeout=30, headers={"Authorization": f"Bearer {key}"} if key else None) as client:
    wish = {"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}
    # The key makes it safe to send this again if no answer comes: the same key is the same job.
    job = call("POST", "/v1/jobs", json=wish, headers={"Idempotency-Key": str(uuid.uuid4())}).json()
    while job["status"] in ("queued", "running"):
        try:
            with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
                for line in events.iter_lines():
                    if line.startswith("data:") and (progress := json.loads(line[5:])).get("fraction"):
                        print(f"{progress['status']} {progress['fraction']:.0%}", file=sys.stderr)
        except httpx.TransportError:
            time.sleep(1)  # the stream was cut; the next one begins with how the job is
        job = call("GET", f"/v1/jobs/{job['id']}").json()
    if job["status"] != "succeeded":
        sys.exit(f"the job {job['status']}: {job['error']}")
    file.write_bytes(call("GET", f"/v1/jobs/{job['id']}/images/0.png").content)
print(file)
