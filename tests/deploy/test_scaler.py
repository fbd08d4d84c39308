"""To zero and back, as the ScaledObject has it: its numbers, the real API, and real workers started and stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis

from jobs.api_keys import make_key
from jobs.settings import Settings
from tests.app.serving import serving
from tests.chaos.poison import CLASSES, POISON
from tests.deploy.kustomize import MANIFESTS, Manifest, rendered
from tests.deploy.scaler import Scaler, evaluated

SECOND_S = 0.005
"""A second of the ScaledObject; five minutes of patience are a second and a half here."""
LIMIT_S = 60.0
HEARTBEAT_TTL_S = 2
HARMLESS = (POISON + 1) % len(CLASSES)


def manifest(kind: str) -> Manifest:
    (found,) = [one for one in rendered(MANIFESTS / "autoscaled") if one["kind"] == kind]
    return found


class Cluster:
    """Worker processes, as many as the scaler wants."""

    def __init__(self, redis_url: str, log: Path) -> None:
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("UNFOG_")}
        self.environment |= {"UNFOG_REDIS_URL": redis_url, "UNFOG_HEARTBEAT_TTL_S": str(HEARTBEAT_TTL_S)}
        self.log = log
        self.workers: list[subprocess.Popen[bytes]] = []
        self.seen: list[int] = []
        """Every number of replicas there was, in order."""

    def scale(self, replicas: int) -> None:
        """Start or stop workers until there are so many."""
        self.workers = [one for one in self.workers if one.poll() is None]
        while len(self.workers) < replicas:
            command = [sys.executable, "-m", "tests.chaos.poisoned_worker", "tests.chaos.clockwork_engine"]
            with self.log.open("ab") as out:
                self.workers.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))
        while len(self.workers) > replicas:
            one = self.workers.pop()
            one.send_signal(signal.SIGTERM)
            assert one.wait(timeout=30) == 0
        if self.seen[-1:] != [replicas]:
            self.seen.append(replicas)

    def kill_all(self) -> None:
        """SIGKILL, as a node that is gone."""
        for one in self.workers:
            one.kill()
            one.wait()


class Site:
    """The API with a key for callers, the scaler with its own, and the workers."""

    def __init__(self, url: str, key: str, scaler: Scaler, cluster: Cluster) -> None:
        self.url, self.scaler, self.cluster = url, scaler, cluster
        self._headers = {"Authorization": f"Bearer {key}"}

    def submit(self, **fields: Any) -> dict[str, Any]:
        """A job of the clockwork model."""
        body = {"sampler": "ddim", "steps": 50, "guidance_scale": 1, "class_label": HARMLESS, **fields}
        answer = httpx.post(f"{self.url}/v1/jobs", json=body, headers=self._headers)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is now."""
        found: dict[str, Any] = httpx.get(self.url + job["urls"]["self"], headers=self._headers).json()
        return found

    def run_until(self, true: Any) -> None:
        """Let the scaler do its round until it is so."""
        deadline = time.monotonic() + LIMIT_S
        while not true():
            assert time.monotonic() < deadline, f"{self.cluster.seen}\n{self.cluster.log.read_text()}"
            self.cluster.scale(self.scaler.replicas(len(self.cluster.workers)))
            time.sleep(0.1)

    def first_worker(self) -> None:
        """The one that the Deployment starts with, until it has announced its model: the scaler leaves it alone."""
        self.cluster.scale(1)
        deadline = time.monotonic() + LIMIT_S
        while not httpx.get(f"{self.url}/v1/models", headers=self._headers).json()["data"]:
            assert time.monotonic() < deadline, self.cluster.log.read_text()
            time.sleep(0.1)


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    settings = Settings(redis_url=SecretStr(redis_url))
    with Redis.from_url(redis_url) as redis:
        _, caller = make_key(redis, "alice")
        _, admin = make_key(redis, "scaler", ["admin"])
    with serving(settings) as api, contextlib.ExitStack() as at_the_end:
        cluster = Cluster(redis_url, tmp_path / "workers.log")
        at_the_end.callback(cluster.kill_all)
        yield Site(api.url, caller, Scaler(manifest("ScaledObject"), api.url, admin, SECOND_S), cluster)


def test_a_first_worker_announces_itself_and_goes_and_comes_back_for_a_job_and_goes_again(site: Site) -> None:
    site.first_worker()
    site.run_until(lambda: not site.cluster.workers)
    assert site.scaler.value() == 0
    job = site.submit(num_images=4)
    assert site.job(job)["status"] == "queued"
    assert site.scaler.value() == 4 * 50
    site.run_until(lambda: site.job(job)["status"] == "succeeded")
    site.run_until(lambda: not site.cluster.workers)
    assert site.cluster.seen == [1, 0, 1, 0]


def test_a_job_whose_only_worker_is_gone_still_counts_and_gets_another(site: Site) -> None:
    site.first_worker()
    job = site.submit(steps=1000)
    site.run_until(lambda: site.job(job)["status"] == "running")
    assert site.scaler.value() == 1000, "it runs, and is in no queue"
    site.cluster.kill_all()
    site.cluster.scale(0)
    assert site.scaler.value() == 1000
    site.run_until(lambda: site.job(job)["status"] == "succeeded")
    assert site.job(job)["attempt"] == 2


def test_more_work_than_one_can_do_gets_more_workers_up_to_the_most(site: Site) -> None:
    site.first_worker()
    site.cluster.kill_all()
    target = float(manifest("ScaledObject")["spec"]["advanced"]["scalingModifiers"]["target"])
    while site.scaler.value() <= 2 * target:
        site.submit(num_images=16, steps=999)
    assert site.scaler.replicas(1) == 3
    while site.scaler.value() <= 9 * target:
        site.submit(num_images=16, steps=999)
    assert site.scaler.replicas(1) == manifest("ScaledObject")["spec"]["maxReplicaCount"] == 8


def test_the_formula_counts_queued_and_running_evaluations_and_no_jobs() -> None:
    spec = manifest("ScaledObject")["spec"]
    assert {one["name"]: one["metadata"]["valueLocation"] for one in spec["triggers"]} == {
        "queued": "queued_evaluations",
        "running": "running_evaluations",
    }
    assert evaluated(spec["advanced"]["scalingModifiers"]["formula"], {"queued": 20, "running": 3}) == 23


def test_the_scaler_goes_to_the_service_that_is_there_with_the_secret_that_is_named() -> None:
    service = next(one for one in rendered(MANIFESTS / "base") if one["kind"] == "Service")
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    port = service["spec"]["ports"][0]["port"]
    spec = manifest("ScaledObject")["spec"]
    authentication = manifest("TriggerAuthentication")
    for trigger in spec["triggers"]:
        url = trigger["metadata"]["url"]
        assert url == f"http://{name}.{namespace}.svc.cluster.local:{port}/v1/stats"
        assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert [one["parameter"] for one in authentication["spec"]["secretTargetRef"]] == ["token"]
    deployments = {one["metadata"]["name"] for one in rendered(MANIFESTS / "base") if one["kind"] == "Deployment"}
    assert spec["scaleTargetRef"]["name"] in deployments
