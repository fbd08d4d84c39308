"""The manifests: valid by Kubernetes' and KEDA's own schemas, safe, and in step with the settings they set."""

import tomllib
from typing import Any

import kubernetes_validate
import pytest
from cloudcoil.models.keda import v1alpha1 as keda

from jobs.settings import Settings
from tests.deploy.kustomize import MANIFESTS, ROOT, Manifest, pod_of, rendered

VERSIONS = ("1.30", "1.37")
"""The oldest that knows all that is used, and the newest that is known."""
FOLDERS = ("base", "cpu", "autoscaled")


def labels_of(deployment: Manifest) -> dict[str, str]:
    """The labels of its pods."""
    labels: dict[str, str] = deployment["spec"]["template"]["metadata"]["labels"]
    return labels


def of_kind(folder: str, kind: str) -> dict[str, Manifest]:
    """The manifests of a kind, by name."""
    return {one["metadata"]["name"]: one for one in rendered(MANIFESTS / folder) if one["kind"] == kind}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_the_schema_of_its_kind(folder: str, version: str) -> None:
    manifests = rendered(MANIFESTS / folder)
    assert len(manifests) > 8
    for manifest in manifests:
        if manifest["apiVersion"].startswith("keda.sh/"):
            model = getattr(keda, manifest["kind"]).model_validate(manifest)
            # The models drop fields that they do not know.
            assert model.model_dump(by_alias=True, exclude_unset=True, mode="json") == manifest
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_check_sees_a_field_that_is_not_there() -> None:
    broken = of_kind("base", "Deployment")["unfog-api"]
    broken["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFs"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_every_folder_is_rendered_by_these_tests() -> None:
    folders = {path.parent.name for path in MANIFESTS.glob("*/kustomization.yaml")}
    assert folders == {*FOLDERS, "keda", "webhooks"}
    listed = {str(path.relative_to(MANIFESTS)) for path in MANIFESTS.glob("*/*.yaml")}
    assert listed == {
        *(f"{folder}/kustomization.yaml" for folder in folders),
        *(f"base/{name}.yaml" for name in ("namespace", "settings", "api", "worker", "network")),
        "keda/scaler.yaml",
        "webhooks/dispatcher.yaml",
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_pod_may_more_than_it_must(folder: str) -> None:
    for name, deployment in of_kind(folder, "Deployment").items():
        pod = pod_of(deployment)
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_manifest_holds_a_secret(folder: str) -> None:
    assert "Secret" not in {one["kind"] for one in rendered(MANIFESTS / folder)}
    for deployment in of_kind(folder, "Deployment").values():
        for variable in pod_of(deployment)["containers"][0].get("env", []):
            secret = variable["name"].endswith(("_URL", "_SECRET"))
            assert ("valueFrom" in variable) == secret, variable["name"]


def settings_of(deployment: Manifest, shared: Manifest) -> dict[str, str]:
    """The variables of its first container whose values stand in the manifests."""
    container = pod_of(deployment)["containers"][0]
    assert container["envFrom"] == [{"configMapRef": {"name": shared["metadata"]["name"]}}]
    own = {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}
    return {**shared["data"], **own}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_set_is_a_setting(folder: str) -> None:
    (shared,) = of_kind(folder, "ConfigMap").values()
    known = {f"UNFOG_{name.upper()}" for name in Settings.model_fields}
    for deployment in of_kind(folder, "Deployment").values():
        named = {one["name"] for one in pod_of(deployment)["containers"][0].get("env", [])}
        assert settings_of(deployment, shared).keys() | named <= known


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_worker_drains_within_its_grace_period(folder: str) -> None:
    (shared,) = of_kind(folder, "ConfigMap").values()
    worker = of_kind(folder, "Deployment")["unfog-worker"]
    drain_s = float(settings_of(worker, shared)["UNFOG_DRAIN_S"])
    assert pod_of(worker)["terminationGracePeriodSeconds"] >= drain_s + 10


def patience_s(probe: dict[str, Any]) -> int:
    """How long a probe may fail before something is done."""
    return int(probe["periodSeconds"] * probe["failureThreshold"])


def test_an_engine_has_its_time_to_start_before_a_probe_gives_up() -> None:
    start_s = Settings.model_fields["engine_start_s"].default
    worker = pod_of(of_kind("base", "Deployment")["unfog-worker"])["containers"][0]
    assert patience_s(worker["startupProbe"]) > start_s
    assert patience_s(worker["livenessProbe"]) > start_s, "an engine that died is replaced meanwhile"


def test_the_api_is_asked_at_the_paths_that_are_meant_for_it() -> None:
    api = pod_of(of_kind("base", "Deployment")["unfog-api"])["containers"][0]
    paths = {name: api[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    (port,) = api["ports"]
    assert port["containerPort"] == Settings.model_fields["port"].default


def test_a_worker_asks_for_a_card_and_on_cpus_for_none() -> None:
    def cards(folder: str) -> set[str]:
        worker = pod_of(of_kind(folder, "Deployment")["unfog-worker"])["containers"][0]
        return {worker["resources"][which].get("nvidia.com/gpu", "0") for which in ("requests", "limits")}

    assert cards("base") == {"1"}
    assert cards("cpu") == {"0"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_images_are_those_of_this_release(folder: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {pod_of(one)["containers"][0]["image"] for one in of_kind(folder, "Deployment").values()}
    build = "cpu" if folder == "cpu" else "cuda"
    assert images == {f"unfog-api:{version}", f"unfog-worker:{version}-{build}"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_selectors_find_the_pods_they_mean(folder: str) -> None:
    deployments = of_kind(folder, "Deployment")
    for deployment in deployments.values():
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels_of(deployment).items()
    selectors = [
        *(one["spec"]["selector"]["matchLabels"] for one in of_kind(folder, "PodDisruptionBudget").values()),
        *(one["spec"]["selector"] for one in of_kind(folder, "Service").values()),
        *(one["spec"]["podSelector"].get("matchLabels", {}) for one in of_kind(folder, "NetworkPolicy").values()),
    ]
    assert len(selectors) >= 7
    for selector in selectors:
        assert any(selector.items() <= labels_of(one).items() for one in deployments.values()), selector


def test_the_api_and_the_workers_have_budgets_for_disruptions() -> None:
    budgets = of_kind("base", "PodDisruptionBudget")
    assert budgets["unfog-api"]["spec"]["minAvailable"] == 1
    assert budgets["unfog-worker"]["spec"]["maxUnavailable"] == 1
    assert of_kind("base", "Deployment")["unfog-api"]["spec"]["replicas"] > 1, "else a drain of its node waits"


def test_nothing_may_come_in_or_go_out_but_what_a_policy_names() -> None:
    policies = of_kind("base", "NetworkPolicy")
    nothing = policies.pop("unfog-nothing-else")["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies.values():
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            assert rule["ports"], policy["metadata"]["name"]
    doors = {
        policy["metadata"]["name"]: rule["ports"][0]["port"]
        for policy in policies.values()
        for rule in policy["spec"].get("ingress", [])
    }
    assert doors == {"unfog-api-in": 8000, "unfog-worker-metrics-in": 9100}
