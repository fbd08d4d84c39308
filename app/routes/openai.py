"""`POST /v1/images/generations`: one picture or several for programs that speak OpenAI's API.

The prompt is the name of a class. What OpenAI's clients may send besides is honoured, or refused by its name; only
`user` and `safety_identifier`, which ask for nothing, are taken and not looked at.
"""

import base64
import re
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.body import read_json
from app.dependencies import Services, ServicesDep, SubmitterDep
from app.described import LOCATION, answer, reference
from app.links import Links
from app.middleware.openai_errors import ERROR_SCHEMA, PATH
from app.problems import Problem
from app.submitting import order_of, promise_of, submit
from app.waiting import wait_for_end
from jobs.catalogue import ModelCard
from jobs.errors import Refusal, RequestRefused
from jobs.record import JobRecord, Picture, Status
from jobs.request import MAX_IMAGES, MAX_SCALE, JobRequest, Steps
from jobs.spec import Seed

MAX_WAIT_S = 60
NOT_AGAIN = {"X-Should-Retry": "false"}
"""OpenAI's clients send again what failed; this tells them that it would only draw once more."""
ANY = ("", "any")
"""Prompts that leave the class open."""

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")

router = APIRouter(tags=["openai"])


class ImagesRequest(BaseModel):
    """The body of `POST /v1/images/generations`. A field that is not here is refused."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"prompt": "any", "n": 1, "size": "256x256"}]},
    )

    prompt: str = Field(
        max_length=32_000,
        description="The name of a class of the model; empty or `any` draws one for each picture.",
    )
    model: str | None = Field(None, max_length=128, description="A model's id; the default model if left out.")
    n: int | None = Field(None, ge=1, le=MAX_IMAGES, description="How many pictures; 1 if left out.")
    size: str | None = Field(
        None,
        max_length=16,
        description="`auto`, the model's own size, or that size times 1 to 16, as `256x256`. Nearest neighbour.",
    )
    response_format: Literal["url", "b64_json"] | None = Field(None, description="`url` if left out.")
    seed: Seed | None = Field(None, description="The seed of the first picture. Ours, not OpenAI's.")
    steps: Steps | None = Field(None, description="Denoising steps. Ours, not OpenAI's.")
    sampler: str | None = Field(None, max_length=64, description="A sampler of the model. Ours, not OpenAI's.")
    guidance_scale: float | None = Field(
        None, ge=0, le=30, description="Strength of the class. Ours, not OpenAI's."
    )
    quality: Literal["auto", "standard"] | None = Field(None, description="There is one quality.")
    background: Literal["auto", "opaque"] | None = Field(None, description="Pictures are opaque.")
    output_format: Literal["png"] | None = Field(None, description="Pictures are PNG.")
    moderation: Literal["auto"] | None = Field(None, description="Nothing is moderated: there is no text.")
    stream: Literal[False] | None = Field(
        None, description="There is no stream; see `GET /v1/jobs/{job_id}/events`."
    )
    user: str | None = Field(None, max_length=512, description="Not looked at.")
    safety_identifier: str | None = Field(None, max_length=512, description="Not looked at.")


class ImageData(BaseModel):
    """One picture: where it is, or all of it in base64."""

    url: str | None
    b64_json: str | None
    revised_prompt: str | None
    """The class that the picture shows."""


class ImagesResponse(BaseModel):
    """The pictures, by seed. `created` is the Unix second at which they were ready."""

    created: int
    data: list[ImageData]


@router.post(
    PATH,
    response_model=ImagesResponse,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference(ImagesRequest)}},
        }
    },
    responses={
        200: answer("The pictures.", LOCATION),
        "default": {
            "description": "An error in OpenAI's form. The status is that of `POST /v1/jobs`, but 400 for a field "
            "that is wrong, 500 `job_failed` or `job_canceled`, and 504 `still_running` after 60 s.",
            "content": {"application/json": {"schema": ERROR_SCHEMA}},
        },
    },
)
async def generate_images(request: Request, services: ServicesDep, caller: SubmitterDep) -> Response:
    """Draw pictures as OpenAI's clients ask for them, and wait for them. See docs/openai.md."""
    await services.rate_limit.take(caller.rate_key)
    body = await read_json(request, ImagesRequest, services.settings.max_body_bytes)
    catalogue = await services.store.models()
    wanted = job_request(body, catalogue.find(body.model))
    order = await order_of(services, caller, wanted, request.state.request_id)
    record = await submit(services, request, order, promise_of(request, wanted))
    record = await wait_for_end(services, request, record, MAX_WAIT_S)
    links = Links(services.links.public_url or str(request.base_url), services.links.signer)
    headers = {"Location": links.job(record)}
    _require_pictures(record, headers)
    assert record.finished_at is not None
    data = [await _datum(services, links, record, picture, body) for picture in record.meta.pictures]
    answered = ImagesResponse(created=int(record.finished_at.timestamp()), data=data)
    return JSONResponse(answered.model_dump(), headers=headers)


def _require_pictures(record: JobRecord, headers: dict[str, str]) -> None:
    """Raise `Problem` for a job that has made none: 504 if it still may, else 500."""
    if record.status is Status.SUCCEEDED:
        return
    if not record.status.ended:
        detail = f"this waits {MAX_WAIT_S} s at most, and the job still runs; it is at {headers['Location']}"
        raise Problem(HTTPStatus.GATEWAY_TIMEOUT, "still_running", detail, headers={**headers, **NOT_AGAIN})
    reason = record.failure.detail if record.failure else "it was canceled"
    detail = f"job {record.id} has no picture: {reason}"
    code = f"job_{record.status}"
    raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, code, detail, headers={**headers, **NOT_AGAIN})


async def _datum(
    services: Services, links: Links, record: JobRecord, picture: Picture, body: ImagesRequest
) -> ImageData:
    if body.response_format != "b64_json":
        return ImageData(
            url=links.picture(record, picture.index), b64_json=None, revised_prompt=picture.class_label
        )
    png = base64.b64encode(await services.store.picture(picture)).decode()
    return ImageData(url=None, b64_json=png, revised_prompt=picture.class_label)


def job_request(body: ImagesRequest, card: ModelCard) -> JobRequest:
    """The job that the body asks for. Raises `RequestRefused` with all that does not fit the model."""
    refusals: list[Refusal] = []
    label, scale = _class_label(body.prompt, card, refusals), _scale(body.size, card, refusals)
    if refusals:
        raise RequestRefused(*refusals)
    return JobRequest(
        model=card.id,
        sampler=body.sampler,
        steps=body.steps,
        num_images=body.n or 1,
        seed=body.seed,
        class_label=label,
        guidance_scale=body.guidance_scale,
        scale=scale,
        cancel_on_disconnect=True,  # nobody else knows of the job
    )


def _class_label(prompt: str, card: ModelCard, refusals: list[Refusal]) -> str | None:
    wanted = prompt.strip().casefold()
    for name in card.class_names:
        if name.casefold() == wanted:
            return name
    if wanted in ANY:
        return None
    shown = repr(prompt if len(prompt) <= 60 else prompt[:60] + "…")
    if card.class_names:
        detail = (
            f"{card.id} does not read text: {shown} is none of its classes; send one of "
            f"{', '.join(card.class_names)}, or any"
        )
    else:
        detail = f"{card.id} has no classes and does not read text; send an empty prompt, not {shown}"
    refusals.append(Refusal("/prompt", "unknown_class", detail))
    return None


def _scale(size: str | None, card: ModelCard, refusals: list[Refusal]) -> int:
    if size in (None, "auto"):
        return 1
    found = _SIZE.fullmatch(size)
    if found is not None:
        scale, left = divmod(int(found[1]), card.width)
        if not left and 1 <= scale <= MAX_SCALE and int(found[2]) == scale * card.height:
            return scale
    sizes = (f"{card.width * scale}x{card.height * scale}" for scale in (1, 2, MAX_SCALE))
    detail = "must be auto, or {}, {} and so on to {}: whole multiples of the model's own size".format(*sizes)
    refusals.append(Refusal("/size", "out_of_range", detail))
    return 1
