"""The description in OpenAPI 3.0, for Swagger UI: the one in its package does not read 3.1."""

from typing import Any

DROPPED = ("propertyNames", "contentMediaType", "itemSchema")
"""What 3.0 has no word for."""


def in_30(described: dict[str, Any]) -> dict[str, Any]:
    """The same in OpenAPI 3.0.3; the original stays as it is."""
    translated: dict[str, Any] = _translated(described)
    translated["openapi"] = "3.0.3"
    translated["info"].pop("summary", None)
    return translated


def _translated(node: Any) -> Any:
    if isinstance(node, list):
        return [_translated(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {name: _translated(value) for name, value in node.items() if name not in DROPPED}
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if found.get("type") == "null":
        return {**found, "type": "string", "nullable": True, "enum": [None]}
    return _nullable(found) if isinstance(found.get("anyOf"), list) else found


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` with null beside others as `nullable`."""
    options = [option for option in schema["anyOf"] if not _is_null(option)]
    if len(options) == len(schema["anyOf"]):
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(options) > 1:
        return {**rest, "anyOf": options, "nullable": True}
    if "$ref" in options[0]:
        return {**rest, "allOf": options, "nullable": True}
    return {**options[0], **rest, "nullable": True}


def _is_null(option: Any) -> bool:
    return isinstance(option, dict) and option.get("enum") == [None]
