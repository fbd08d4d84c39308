"""What the tests of the client share."""

import pytest


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once; how long pauses are is tested by itself."""
    monkeypatch.setattr("unfog.repeating.FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("unfog.repeating.LONGEST_PAUSE_S", 0.0)
    monkeypatch.delenv("UNFOG_URL", raising=False)
    monkeypatch.delenv("UNFOG_API_KEY", raising=False)
