"""Which processes make the service, and in which order."""

import signal
import sys

from pydantic import SecretStr

from jobs.settings import Settings
from service.stack import children_of
from tests.service.running import eventually

SECRET = SecretStr("x" * 32)


def test_without_a_secret_nobody_sends_webhooks() -> None:
    assert [child.name for child in children_of(Settings(webhook_secret=SecretStr("")))] == ["worker", "api"]


def test_with_a_secret_the_dispatcher_is_there_before_the_worker_and_stopped_after_it() -> None:
    children = children_of(Settings(webhook_secret=SECRET))
    assert [child.name for child in children] == ["dispatch", "worker", "api"]
    assert children[0].command == (sys.executable, "-P", "-m", "dispatch")


def test_the_dispatcher_gets_the_redis_that_the_service_found(redis_url: str) -> None:
    settings = Settings(webhook_secret=SECRET, redis_url=SecretStr(redis_url))
    child = children_of(settings)[0]
    assert child.env is not None
    child.env = {**child.env, "UNFOG_WEBHOOK_SECRET": SECRET.get_secret_value()}
    child.start()
    try:
        said: list[str] = []

        def ready() -> bool:
            said.extend(child.pump())
            return child.poll() is not None or any("dispatcher ready" in line for line in said)

        assert eventually(ready)
        assert child.running, said
        child.send(signal.SIGTERM)
        assert child.stop() == 0
    finally:
        child.kill()
