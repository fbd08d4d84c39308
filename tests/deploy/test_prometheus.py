"""The alert rules and the dashboard: every metric in them is told, every alert has its entry in the runbook."""

import json
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from jobs.settings import Settings
from tests.deploy.kustomize import ROOT
from tests.deploy.told import samples

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RUNBOOK = (ROOT / "docs" / "operate.md").read_text().partition("\n## Runbook\n")[2].partition("\n## ")[0]
FROM_SCRAPING = {"instance", "job"}
"""Labels that Prometheus adds itself."""
_SELECTOR = re.compile(r"\b(unfog_\w+|up)\b(?:\{([^}]*)\})?")


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    found = json.loads((GRAFANA / "dashboards" / "unfog.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every expression of the rules and of the dashboard, by where it stands."""
    of_rules = {name: rule["expr"] for name, rule in rules().items()}
    return of_rules | {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]
    }


@cache
def told() -> dict[str, set[str]]:
    return samples()


@pytest.mark.parametrize("place", expressions())
def test_every_metric_and_every_label_of_an_expression_is_told(place: str) -> None:
    expression = expressions()[place]
    used = _SELECTOR.findall(expression)
    assert used, "it asks for something"
    labels: set[str] = set(FROM_SCRAPING)
    for name, matchers in used:
        assert name == "up" or name in told(), f"nobody tells {name}"
        own = told().get(name, set()) | FROM_SCRAPING
        assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= own, f"{name} has no such label: {matchers}"
        labels |= own
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in group.split(",")} <= labels, group


def test_everything_that_is_told_of_jobs_and_load_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    families = {re.sub(r"_(bucket|sum|count|created|total)$", "", name) for name in told()}
    assert {name for name in families if name not in shown} == set()


def test_every_alert_has_its_entry_in_the_runbook_and_no_other_has() -> None:
    entries = re.findall(r"^### (Unfog\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(entries) == sorted(rules())
    for name, rule in rules().items():
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


def test_the_limits_in_the_rules_follow_the_settings() -> None:
    waiting = Settings.model_fields["max_queued_evaluations"].default
    assert f"> {waiting * 8 // 10}" in rules()["UnfogQueueFull"]["expr"]
    streams = Settings.model_fields["max_listeners"].default
    assert f"> {streams * 9 // 10}" in rules()["UnfogListenersFull"]["expr"]


def test_every_alert_is_seen_to_fire() -> None:
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == set(rules())


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH; it comes with Prometheus, on Debian as the package prometheus")
    done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_dashboard_and_its_dashboard_finds_prometheus() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/unfog.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert source["url"] == "http://prometheus:9090"
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    wanted = {"type": "prometheus", "uid": source["uid"]}
    for panel in panels():
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])


def test_prometheus_asks_the_services_of_the_compose_file_at_their_ports() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    api, worker = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert api["static_configs"] == [{"targets": ["api:8000"]}]
    assert compose["api"]["ports"][0].endswith(":8000")
    (found,) = worker["dns_sd_configs"]
    for name in found["names"]:
        assert compose[name]["environment"]["UNFOG_WORKER_METRICS_PORT"] == str(found["port"])
