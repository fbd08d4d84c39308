"""Settings come from the environment; a bad one is named; docs/settings.md is the code's own words."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from jobs.settings import BUNDLED_MODEL, CHECKOUT, Settings, SettingsError, load_settings

DOCS = CHECKOUT / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"UNFOG_{name.upper()}", raising=False)


def shown(value: Any) -> str:
    """A default as the docs show it: as one would write it into the environment."""
    assert value is not PydanticUndefined, "every setting has a default"
    if isinstance(value, tuple):
        return ",".join(shown(each) for each in value)
    if isinstance(value, Path):
        return str(value.relative_to(CHECKOUT))
    if value == str(BUNDLED_MODEL):
        return str(BUNDLED_MODEL.relative_to(CHECKOUT))
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def documented() -> dict[str, tuple[str, str]]:
    """Variable to default and meaning, as the tables have them."""
    rows = re.findall(r"^\| `(UNFOG_\w+)` \| (.*?) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    found = {name: (default, meaning) for name, default, meaning in rows}
    assert len(found) == len(rows), "a setting stands in the docs once"
    return found


def test_the_docs_have_every_setting_with_its_default_and_meaning_and_no_other() -> None:
    code = {}
    for name, field in Settings.model_fields.items():
        default = shown(field.default)
        code[f"UNFOG_{name.upper()}"] = (f"`{default}`" if default else "empty", field.description)
    assert documented() == code


def test_a_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_PORT", "9")
    monkeypatch.setenv("UNFOG_ALLOW_ANONYMOUS", "true")
    monkeypatch.setenv("UNFOG_REDIS_URL", "unix:///run/redis.sock?db=1")
    settings = load_settings()
    assert (settings.port, settings.allow_anonymous) == (9, True)
    assert settings.redis_url.get_secret_value() == "unix:///run/redis.sock?db=1"


def test_without_variables_the_bundled_model_is_served_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.allow_anonymous) == ("127.0.0.1", False)
    assert settings.models == (str(BUNDLED_MODEL),)


@pytest.mark.parametrize(
    ("text", "folders"),
    [
        ("a", ("a",)),
        ("a,b/c", ("a", "b/c")),
        (" a , b ", ("a", "b")),
        ("/with space/a,", ("/with space/a",)),
    ],
)
def test_models_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, text: str, folders: Any) -> None:
    monkeypatch.setenv("UNFOG_MODELS", text)
    assert load_settings().models == folders


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("PORT", "abc", "should be a valid integer"),
        ("PORT", "65536", "should be less than or equal to 65535"),
        ("PORT", "", "should be a valid integer"),
        ("MODELS", "", "name at least one model folder"),
        ("MODELS", " , ", "name at least one model folder"),
        ("BATCHING", "loose", "should be 'strict' or 'fast'"),
        ("ALLOW_ANONYMOUS", "perhaps", "should be a valid boolean"),
        ("HEARTBEAT_TTL_S", "1", "should be greater than or equal to 2"),
        ("LOG_LEVEL", "loud", "should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_bad_value_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(f"UNFOG_{name}", value)
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert str(told.value).startswith(f"UNFOG_{name} is {value!r}: ")
    assert reason in str(told.value)
    assert "\n" not in str(told.value)


def test_all_bad_values_are_told_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_PORT", "abc")
    monkeypatch.setenv("UNFOG_DRAIN_S", "-1")
    with pytest.raises(SettingsError) as told:
        load_settings()
    assert [line.partition(" ")[0] for line in str(told.value).splitlines()] == ["UNFOG_PORT", "UNFOG_DRAIN_S"]


@pytest.mark.parametrize(
    "url", ["http://u:hush@host", "redis://:hu/sh@host:1/0", "redis://:hush@host:port/0", "hush", ""]
)
def test_a_bad_redis_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("UNFOG_REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"UNFOG_REDIS_URL is no URL of a Redis: .*redis://HOST:PORT/0") as told:
        load_settings()
    assert "hu" not in str(told.value)


def test_the_password_of_a_good_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOG_REDIS_URL", "redis://:hush@host:6379/0")
    assert "hush" not in repr(load_settings())
