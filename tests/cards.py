"""Two models that do not exist, as a worker would announce them, and what becomes of their jobs without one."""

import hashlib
import io
import time
from collections.abc import Sequence

from PIL import Image
from redis import Redis
from rq.job import JobStatus
from rq.utils import now

from jobs import keys
from jobs.catalogue import Catalogue, ModelCard, SamplerCard, announce
from jobs.events import publish_moved
from jobs.queue import ServiceJob
from jobs.record import Failure, JobMeta, Picture, restore, spec_of, write_meta

SAMPLERS = (
    SamplerCard(name="ddpm", summary="ancestral", takes_eta=False, max_steps=1000, evaluations_per_step=1),
    SamplerCard(name="ddim", summary="implicit", takes_eta=True, max_steps=1000, evaluations_per_step=1),
    SamplerCard(name="heun", summary="second order", takes_eta=False, max_steps=40, evaluations_per_step=2),
)

FRUIT = ModelCard(
    id="fruit-16",
    fingerprint="sha256:f00d",
    height=16,
    width=16,
    class_names=("apple", "pear", "plum"),
    guided=True,
    default_sampler="ddim",
    default_steps=50,
    default_guidance_scale=2.0,
    timestep_spacing="leading",
    num_train_timesteps=1000,
    samplers=SAMPLERS,
)
"""With classes and a null label."""

PEBBLE = FRUIT.model_copy(
    update={
        "id": "pebble-8",
        "fingerprint": "sha256:bead",
        "height": 8,
        "width": 8,
        "class_names": (),
        "guided": False,
        "default_sampler": "ddpm",
        "default_guidance_scale": 1.0,
    }
)
"""Without classes."""

WORKER = "a-worker"
CATALOGUE_KEYS = {
    keys.MODELS,
    keys.DEFAULT_MODEL,
    keys.model_workers(FRUIT.id),
    keys.model_workers(PEBBLE.id),
}


def catalogue() -> Catalogue:
    """What the API reads after `announce_both`."""
    return Catalogue({card.id: card for card in (FRUIT, PEBBLE)}, FRUIT.id, {FRUIT.id: 1, PEBBLE.id: 1})


def announce_both(redis: Redis, ttl_s: int = 3600) -> None:
    """Say that a worker serves both models, fruit first."""
    announce(redis, WORKER, (FRUIT, PEBBLE), ttl_s)


def fetch(redis: Redis, job_id: str) -> ServiceJob:
    """The RQ job behind a job."""
    raw = redis.hgetall(ServiceJob.key_for(job_id))
    assert raw, f"{job_id} is not in Redis"
    return restore(job_id, raw, redis)  # type: ignore[arg-type]


def png(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def start(redis: Redis, job_id: str, completed: int = 0) -> None:
    """Take a job from its queue and say that it runs."""
    job = fetch(redis, job_id)
    meta = JobMeta.model_validate(job.meta).model_copy(
        update={"attempt": 1, "completed": completed, "engine": "cpu-float32-strict-0"}
    )
    with redis.pipeline() as pipe:
        pipe.lrem(keys_of_queue(job), 0, job_id)
        job.prepare_for_execution(WORKER, pipeline=pipe)
        write_meta(pipe, job, meta)
        pipe.execute()


def succeed(redis: Redis, job_id: str, pngs: Sequence[bytes]) -> None:
    """End a job with pictures."""
    start(redis, job_id)
    job = fetch(redis, job_id)
    spec, pictures = spec_of(job), []
    for index, data in enumerate(pngs):
        key = keys.picture(job_id, "execution", index)
        redis.set(key, data)
        width, height = Image.open(io.BytesIO(data)).size
        pictures.append(
            Picture(
                index=index,
                key=key,
                seed=spec.image_seed(index),
                class_label=spec.class_names[index] if spec.class_names else None,
                width=width,
                height=height,
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    meta = JobMeta.model_validate(job.meta)
    _end(
        redis,
        job,
        JobStatus.FINISHED,
        meta.model_copy(update={"completed": meta.total, "pictures": tuple(pictures)}),
    )


def fail(redis: Redis, job_id: str, failure: Failure | None) -> None:
    """End a job without pictures; RQ itself gives no failure of ours."""
    start(redis, job_id)
    job = fetch(redis, job_id)
    meta = JobMeta.model_validate(job.meta).model_copy(update={"failure": failure})
    _end(redis, job, JobStatus.FAILED, meta)


def keys_of_queue(job: ServiceJob) -> str:
    """The list that the job waits in."""
    return f"rq:queue:{job.origin}"


def wait_for_job(redis: Redis) -> str:
    """The id of the first job that is in Redis, when there is one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for key in redis.scan_iter("rq:job:job_*"):
            return str(key.decode()).removeprefix("rq:job:")
        time.sleep(0.005)
    raise AssertionError("nobody submitted a job")


def _end(redis: Redis, job: ServiceJob, status: JobStatus, meta: JobMeta) -> None:
    job.ended_at = now()
    with redis.pipeline() as pipe:
        job.set_status(status, pipeline=pipe)
        write_meta(pipe, job, meta)
        job.save(pipeline=pipe, include_result=False)
        publish_moved(pipe, job.id)
        pipe.execute()
