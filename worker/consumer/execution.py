"""One execution of a job: the rows the engine owes, and the pictures that have come back."""

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.client import Pipeline
from rq.executions import Execution
from rq.utils import now

from jobs.catalogue import ModelCard
from jobs.record import Failure, JobMeta, JobRecord, Picture, Status, StoredAnimation, write_running_meta
from jobs.results.store import ANIMATION, ResultFile
from jobs.spec import JobSpec
from worker.consumer.claim import Claimed
from worker.png import Encoded
from worker.row import RowDone, RowRequest


@dataclass(eq=False)
class LiveJob:
    """A claimed job. `meta` is what was last written of it, `record` what it was when it was claimed."""

    claimed: Claimed
    card: ModelCard
    meta: JobMeta
    done: dict[int, RowDone] = field(default_factory=dict)
    """What the engine has finished, by image."""
    encoded: dict[int, Encoded] = field(default_factory=dict)
    """The pictures; they and the animation come together, when all rows are done."""
    animation: bytes | None = None
    stored: dict[str, str] = field(default_factory=dict)
    """The reference of each file, by part, once all of them are stored."""
    failure: Failure | None = None
    stopped: bool = False
    computing_s: float = 0.0
    """Seconds in which the job got on; the clock of its deadline stands still while it is parked."""
    progress_at: float = field(default_factory=time.monotonic)
    log: Any = field(init=False)
    """A logger that names the job, and the HTTP request it came from."""

    def __post_init__(self) -> None:
        request = {"request_id": self.spec.request_id} if self.spec.request_id else {}
        self.log = structlog.get_logger().bind(job=self.id, **request)

    @property
    def record(self) -> JobRecord:
        """The job when it was claimed."""
        return self.claimed.record

    @property
    def id(self) -> str:
        """The job's id."""
        return self.record.id

    @property
    def spec(self) -> JobSpec:
        """What was asked for."""
        return self.record.spec

    @property
    def execution(self) -> Execution:
        """RQ's record of this execution."""
        return self.claimed.execution

    @property
    def key(self) -> str:
        """RQ's name of the execution: job id and execution id."""
        return str(self.execution.composite_key)

    @property
    def ended(self) -> bool:
        """Whether the job waits only for its commit."""
        return self.stopped or self.failure is not None or bool(self.encoded)

    @property
    def sampler(self) -> str:
        """The sampler as a metric's label; one that the model does not have cannot add to the labels."""
        return self.spec.sampler if self.card.sampler(self.spec.sampler) else "other"

    @property
    def queued_s(self) -> float:
        """How long the job waited for this execution."""
        queued_at = self.claimed.enqueued_at or self.record.created_at
        return (self.execution.created_at - queued_at).total_seconds()

    @property
    def age_s(self) -> float:
        """How long ago the job was submitted."""
        return (now() - self.record.created_at).total_seconds()

    @property
    def outcome(self) -> Status:
        """How the job that has ended is to be committed: a stop goes before a failure."""
        assert self.ended
        if self.stopped:
            return Status.CANCELED
        return Status.FAILED if self.failure is not None else Status.SUCCEEDED

    @property
    def waits_for_store(self) -> bool:
        """Whether the job has ended well, and its files are not stored yet."""
        return self.ended and self.outcome is Status.SUCCEEDED and not self.stored

    @property
    def computed(self) -> bool:
        """Whether all rows are done."""
        return len(self.done) == self.spec.num_images

    def rows(self) -> list[RowRequest]:
        """The rows of the job, one an image."""
        spec = self.spec
        return [
            RowRequest(
                key=self.key,
                index=index,
                model=spec.model,
                sampler=spec.sampler,
                steps=spec.steps,
                eta=spec.eta,
                timestep_spacing=spec.timestep_spacing,
                seed=spec.image_seed(index),
                class_label=spec.class_labels[index] if spec.class_labels is not None else None,
                guidance_scale=spec.guidance_scale,
                seed_to=spec.image_seed_to(index),
                seed_mix=spec.seed_mix,
                init_image=spec.init_image,
                walked_steps=spec.walked_steps if spec.init_image is not None else None,
                animate=spec.animation,
            )
            for index in range(spec.num_images)
        ]

    @property
    def evaluations_per_image(self) -> int:
        """What one image costs, counted in places."""
        return self.meta.total // self.spec.num_images

    def completed(self, in_pool: int) -> int:
        """The evaluations done, given those of the rows that are still in the pool."""
        return min(self.meta.total, len(self.done) * self.evaluations_per_image + in_pool)

    def write_progress(self, pipe: Pipeline, in_pool: int) -> None:
        """Write the evaluations done, given those of the rows that are still in the pool, if it is news."""
        completed = self.completed(in_pool)
        moment = time.monotonic()
        if completed != self.meta.completed:
            self.computing_s += moment - self.progress_at
            self.meta = self.meta.model_copy(update={"completed": completed})
            write_running_meta(pipe, self.record, self.execution.worker_name, self.meta)
        self.progress_at = moment

    # What is kept of a job that succeeded

    @property
    def encoded_bytes(self) -> int:
        """What its files take while they wait to be stored."""
        return len(self.animation or b"") + sum(len(one.png) for one in self.encoded.values())

    def files(self, expires_at: float) -> list[ResultFile]:
        """The files, to be kept until that Unix second."""
        parts = {str(index): one.png for index, one in self.encoded.items()}
        if self.animation is not None:
            parts[ANIMATION] = self.animation
        ours = self.id, self.execution.id
        return [ResultFile(*ours, part, data, expires_at) for part, data in parts.items()]

    def finished_meta(self) -> JobMeta:
        """The last meta, which names the files."""
        animation = None
        if self.animation is not None:
            sha256 = hashlib.sha256(self.animation).hexdigest()
            animation = StoredAnimation(key=self.stored[ANIMATION], sha256=sha256)
        named = {"pictures": self._pictures(), "animation": animation}
        return self.meta.model_copy(update={"completed": self.meta.total, **named})

    def _pictures(self) -> tuple[Picture, ...]:
        return tuple(
            Picture(
                index=index,
                key=self.stored[str(index)],
                seed=self.spec.image_seed(index),
                class_label=self.spec.class_names[index] if self.spec.class_names else None,
                width=encoded.width,
                height=encoded.height,
                sha256=encoded.sha256,
            )
            for index, encoded in sorted(self.encoded.items())
        )
