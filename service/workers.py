"""Several workers on one machine, one for each device, started and watched together."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from jobs.settings import Settings
from service import preflight
from service.child import Child
from service.dead_worker import take_jobs_back
from service.problem import CannotStart
from service.supervisor import Restarts, Supervisor

STOP_MARGIN_S = 10.0
"""A worker that drains for as long as it may still has to say goodbye."""


def serve_devices(
    settings: Settings, devices: Sequence[str], write: Callable[[str], None], restarts: Restarts | None = None
) -> int:
    """Run a worker for each device until told to stop; all drain together. Returns the exit code.

    One that dies is started again, and its jobs are queued again at once. Raises `CannotStart`.
    """
    preflight.require_models(settings)
    code = Supervisor(
        workers_of(settings, devices),
        write=write,
        on_child_death=lambda child: take_jobs_back(settings, child, write),
        restarts=restarts,
        stop_together=True,
    ).run()
    write("Stopped.")
    return code


def parsed_devices(text: str) -> list[str]:
    """`0,1` or `cpu,cpu`: names between commas. Raises `CannotStart` if there is none."""
    devices = [device.strip() for device in text.split(",")]
    if not all(devices):
        raise CannotStart(f"--devices {text!r} names no devices. Write --devices 0,1 for the first two cards.")
    return devices


def workers_of(settings: Settings, devices: Sequence[str]) -> list[Child]:
    """A worker for each device, each with a port of its own for its metrics if there are any."""
    children = []
    for n, device in enumerate(devices):
        port = settings.worker_metrics_port + n if settings.worker_metrics_port else 0
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "UNFOG_WORKER_METRICS_PORT": str(port)}
        children.append(
            Child(
                f"worker-{n}",
                [sys.executable, "-P", "-m", "worker"],
                env=env | device_environment(device, os.environ),
                stop_s=settings.drain_s + STOP_MARGIN_S,
            )
        )
    return children


def device_environment(device: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What tells a worker its device.

    A card is the only one that its worker sees, so that nothing of it lands on another's. A number counts the cards
    that this process may see itself; a name (`GPU-…`, `MIG-…`) is the driver's.
    """
    if device == "cpu":
        return {"UNFOG_DEVICE": "cpu"}
    seen = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if device.isdigit() and seen:
        if int(device) >= len(seen):
            raise CannotStart(f"There is no device {device}: CUDA_VISIBLE_DEVICES names {len(seen)}.")
        device = seen[int(device)]
    return {"UNFOG_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": device}
