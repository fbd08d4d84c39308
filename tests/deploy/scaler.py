"""A stand-in for KEDA and the autoscaler behind it: reads a ScaledObject, asks the API, starts and stops workers.

What it does is what KEDA's documents say of a formula over triggers of the type metrics-api; it is no test of KEDA.
"""

import ast
import math
import operator
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.deploy.kustomize import Manifest

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


class Unreachable(Exception):
    """The API gave no number."""


class Scaler:
    """Decides how many replicas there should be. One second of the ScaledObject's own takes `second_s`."""

    def __init__(self, scaled_object: Manifest, api_url: str, token: str, second_s: float) -> None:
        self._spec = scaled_object["spec"]
        self._modifiers = self._spec["advanced"]["scalingModifiers"]
        self._api_url, self._token, self._second_s = api_url, token, second_s
        self._active_at: float | None = None
        self._born_at = time.monotonic()

    def value(self) -> float:
        """What the formula makes of the triggers' numbers. Raises `Unreachable`."""
        numbers = {one["name"]: self._asked(one) for one in self._spec["triggers"]}
        return evaluated(self._modifiers["formula"], numbers)

    def replicas(self, now: int) -> int:
        """How many there should be, with `now` of them there. Raises `Unreachable`."""
        value = self.value()
        if value > float(self._modifiers["activationTarget"]):
            self._active_at = time.monotonic()
            assert self._modifiers["metricType"] == "AverageValue"
            wanted = math.ceil(value / float(self._modifiers["target"]))
            return min(max(wanted, 1), self._spec["maxReplicaCount"])
        if now == 0 or self._cooling():
            return now
        return int(self._spec["minReplicaCount"])

    def _cooling(self) -> bool:
        if self._active_at is None:
            return time.monotonic() - self._born_at < self._spec["initialCooldownPeriod"] * self._second_s
        return time.monotonic() - self._active_at < self._spec["cooldownPeriod"] * self._second_s

    def _asked(self, trigger: dict[str, Any]) -> float:
        assert trigger["type"] == "metrics-api"
        metadata = trigger["metadata"]
        assert metadata["authMode"] == "bearer"
        try:
            answer = httpx.get(
                self._api_url + urlsplit(metadata["url"]).path, headers={"Authorization": f"Bearer {self._token}"}
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise Unreachable(str(error)) from error
        return float(answer.json()[metadata["valueLocation"]])


def evaluated(formula: str, values: dict[str, float]) -> float:
    """The value of a formula of names, numbers, +, - and *."""

    def of(node: ast.expr) -> float:
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]
        assert isinstance(node, ast.BinOp), ast.dump(node)
        return _OPERATORS[type(node.op)](of(node.left), of(node.right))

    return of(ast.parse(formula, mode="eval").body)
