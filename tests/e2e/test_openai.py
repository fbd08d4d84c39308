"""OpenAI's own client draws pictures here, and understands what it is refused."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from redis import Redis

from jobs.api_keys import make_key
from service.redis_server import RedisServer, find_redis_server
from tests.e2e.running import RunningService, running
from tests.service.running import eventually
from unfog import Client

pytestmark = pytest.mark.e2e

SUBMITS = 6
"""What each caller may submit; each test is a caller of its own."""


@dataclass
class Guarded:
    """A service that needs keys and signs its links."""

    service: RunningService

    def key(self, name: str, *scopes: str) -> str:
        with Redis.from_url(self.service.redis_url) as redis:
            return make_key(redis, name, scopes or ("submit", "read"))[1]

    def client(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.service.url}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """The bundled model behind keys."""
    binary = find_redis_server()
    assert binary is not None, "the end-to-end tests need a redis-server"
    folder = tmp_path_factory.mktemp("openai")
    settings = {"url_secret": "0123456789abcdef0123456789abcdef", "rate_limit": f"{SUBMITS}/hour"}
    with RedisServer(binary, folder / "redis") as redis, Redis.from_url(redis.url) as client:
        make_key(client, "first")
        with running(redis.url, folder / "service.log", **settings) as service:
            yield Guarded(service)


@pytest.fixture
def client(guarded: Guarded, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """OpenAI's client with a key of the test's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[-64:].strip("-")
    with guarded.client(guarded.key(name)) as one:
        yield one


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "cats-32"
    assert model.object == "model"
    assert model.created > 1_500_000_000
    assert model.owned_by
    assert client.models.retrieve("cats-32").id == model.id


def test_a_picture_is_the_one_that_the_same_job_draws(guarded: Guarded, client: openai.OpenAI) -> None:
    name = client.models.retrieve("cats-32").model_extra["class_names"][2]  # type: ignore[index]
    own = {"seed": 11, "steps": 3, "sampler": "ddim"}
    drawn = client.images.generate(prompt=f" {name.upper()} ", size="256x256", extra_body=own)
    assert drawn.created > 1_700_000_000
    (picture,) = drawn.data or ()
    assert picture.url is not None
    assert picture.b64_json is None
    assert picture.revised_prompt == name
    png = httpx.get(picture.url).raise_for_status().content  # no header: the link is signed

    body = {**own, "class_label": name, "scale": 8}
    headers = {"Authorization": f"Bearer {client.api_key}", "Prefer": "wait=60", "Accept": "image/png"}
    same = httpx.post(f"{guarded.service.url}/v1/jobs", json=body, headers=headers, timeout=70).raise_for_status()
    assert png == same.content
    with Client(guarded.service.url, api_key=client.api_key) as ours:
        assert ours.generate(**own, class_label=name, scale=8).pngs == (png,)


def test_several_pictures_come_in_the_answer_itself(client: openai.OpenAI) -> None:
    drawn = client.images.generate(
        prompt="any", n=3, response_format="b64_json", model="cats-32", user="u", extra_body={"steps": 2, "seed": 5}
    )
    assert drawn.data is not None
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.b64_json or ""))) for one in drawn.data]
    assert [picture.size for picture in pictures] == [(32, 32)] * 3
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert [one.url for one in drawn.data] == [None] * 3
    assert len({one.revised_prompt for one in drawn.data}) == 3, "three seeds in a row draw three classes"


REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"prompt": "a photograph of a dog"}, "prompt", "unknown_class", "does not read text"),
    ({"n": 17}, "n", "out_of_range", "from 1 to 16"),
    ({"size": "100x100"}, "size", "out_of_range", "32x32, 64x64"),
    ({"size": "1024x1024"}, "size", "out_of_range", "512x512"),
    ({"size": "64x32"}, "size", "out_of_range", "32x32, 64x64"),
    ({"quality": "hd"}, "quality", "unknown_value", "standard"),
    ({"style": "vivid"}, "style", "unknown_field", "no such field"),
    ({"background": "transparent"}, "background", "unknown_value", "opaque"),
    ({"output_format": "webp"}, "output_format", "unknown_value", "png"),
    ({"stream": True}, "stream", "unknown_value", "false"),
    ({"extra_body": {"sampler": "magic"}}, "sampler", "unknown_sampler", "ddim"),
    ({"extra_body": {"steps": "ten"}}, "steps", "wrong_type", "a whole number"),
]


@pytest.mark.parametrize(("asked", "parameter", "code", "word"), REFUSED)
def test_what_is_not_done_is_a_bad_request_that_names_the_parameter(
    client: openai.OpenAI, asked: dict[str, Any], parameter: str, code: str, word: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(**{"prompt": "any", **asked})
    error = refused.value
    assert (error.param, error.code, error.type) == (parameter, code, "invalid_request_error")
    assert word in error.message


def test_a_model_that_is_not_here_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="cats-32") as missing:
        client.images.generate(prompt="any", model="dall-e-2")
    assert (missing.value.param, missing.value.code) == ("model", "unknown_model")


@pytest.mark.parametrize("key", ["sk-0123456789", f"unfog_{'0' * 12}_{'A' * 43}"])
def test_a_key_that_is_none_is_an_authentication_error(guarded: Guarded, key: str) -> None:
    with guarded.client(key) as one:
        with pytest.raises(openai.AuthenticationError) as refused:
            one.images.generate(prompt="any")
        assert (refused.value.type, refused.value.code) == ("authentication_error", "key_unknown")
        with pytest.raises(openai.AuthenticationError):
            one.models.list()


def test_a_key_that_may_only_read_is_denied(guarded: Guarded) -> None:
    with guarded.client(guarded.key("reader", "read")) as one:
        assert one.models.list().data
        with pytest.raises(openai.PermissionDeniedError, match="submit") as denied:
            one.images.generate(prompt="any")
    assert (denied.value.type, denied.value.code) == ("permission_error", "scope_missing")


def test_too_many_calls_are_a_rate_limit_error_with_a_time_to_come_back(client: openai.OpenAI) -> None:
    for _ in range(SUBMITS):
        client.images.generate(prompt="any", extra_body={"steps": 1})
    with pytest.raises(openai.RateLimitError) as limited:
        client.images.generate(prompt="any")
    assert (limited.value.type, limited.value.code) == ("rate_limit_error", "rate_limited")
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 3600


def test_who_hangs_up_waits_for_nothing_and_nothing_is_drawn_for_them(
    guarded: Guarded, client: openai.OpenAI
) -> None:
    def statuses() -> list[str]:
        headers = {"Authorization": f"Bearer {client.api_key}"}
        found = httpx.get(f"{guarded.service.url}/v1/jobs", headers=headers).raise_for_status().json()
        return [job["status"] for job in found["data"]]

    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1.0).images.generate(prompt="any", n=16, extra_body={"steps": 1000})
    assert eventually(lambda: statuses() == ["canceled"]), statuses()
