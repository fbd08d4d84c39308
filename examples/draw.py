"""Draws one picture and saves it: python examples/draw.py [URL] [FILE]. Needs httpx."""

import os
import sys
import time
from pathlib import Path

import httpx

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("UNFOG_URL", "http://127.0.0.1:8000")
file = Path(sys.argv[2] if len(sys.argv) > 2 else "art.png")

with httpx.Client(base_url=url, timeout=30) as client:
    answer = client.post("/v1/jobs", json={"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8})
    if answer.is_error:
        sys.exit(answer.json()["detail"])
    job = answer.json()
    while job["status"] in ("queued", "running"):
        time.sleep(0.5)
        job = client.get(job["urls"]["self"]).raise_for_status().json()
    if job["status"] != "succeeded":
        sys.exit(f"the job {job['status']}: {job['error']}")
    file.write_bytes(client.get(job["images"][0]["url"]).raise_for_status().content)
print(file)
