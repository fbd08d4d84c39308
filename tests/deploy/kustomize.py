"""What kustomize makes of the folders of deploy/kubernetes: the part of it that they use, and nothing else.

Knows resources, components, JSON patches and tags of images; anything else in a kustomization is an error.
"""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFESTS = ROOT / "deploy" / "kubernetes"
KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}

Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    """The manifests of a folder with a kustomization."""
    return _applied(folder, [])


def _applied(folder: Path, before: list[Manifest]) -> list[Manifest]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = kustomization.keys() - KNOWN
    assert not unknown, f"{folder.name} uses what this reader does not know: {unknown}"
    manifests = [*before]
    for name in kustomization.get("resources", []):
        path = folder / name
        manifests += rendered(path.resolve()) if path.is_dir() else _read(path)
    for name in kustomization.get("components", []):
        manifests = _applied((folder / name).resolve(), manifests)
    for manifest in manifests:
        if "namespace" in kustomization and manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = kustomization["namespace"]
    for patch in kustomization.get("patches", []):
        (found,) = [one for one in manifests if _is(one, patch["target"])]
        for operation in yaml.safe_load(patch["patch"]):
            _patch(found, operation)
    for image in kustomization.get("images", []):
        _retag(manifests, image)
    return manifests


def _read(path: Path) -> list[Manifest]:
    return [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest]


def _is(manifest: Manifest, target: dict[str, str]) -> bool:
    return bool(manifest["kind"] == target["kind"] and manifest["metadata"]["name"] == target["name"])


def _patch(manifest: Manifest, operation: dict[str, Any]) -> None:
    """RFC 6902's add and remove."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place: Any = manifest
    for part in way:
        place = place[int(part) if isinstance(place, list) else part]
    if operation["op"] == "remove":
        del place[last]
    elif operation["op"] == "add" and isinstance(place, list):
        assert last == "-", "only appended to"
        place.append(copy.deepcopy(operation["value"]))
    else:
        raise AssertionError(f"an operation that this reader does not know: {operation}")


def _retag(manifests: list[Manifest], image: dict[str, str]) -> None:
    hits = 0
    for manifest in manifests:
        for container in pod_of(manifest).get("containers", []):
            name = re.split(r"[:@]", container["image"])[0]
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image['newTag']}"
                hits += 1
    assert hits, f"no container has the image {image['name']}"


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """The specification of the pods of a Deployment; empty for anything else."""
    if manifest["kind"] != "Deployment":
        return {}
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod
