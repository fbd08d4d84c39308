"""One execution of a job: the rows the engine owes, and the pictures that have come back."""

import time
from dataclasses import dataclass, field

from redis.client import Pipeline
from rq.executions import Execution

from jobs.catalogue import ModelCard
from jobs.queue import ServiceJob, ServiceQueue
from jobs.record import Failure, JobMeta, Picture, write_running_meta
from jobs.spec import JobSpec
from worker.png import Encoded
from worker.row import RowRequest


@dataclass
class LiveJob:
    """A claimed job. `meta` is what was last written of it."""

    job: ServiceJob
    queue: ServiceQueue
    execution: Execution
    spec: JobSpec
    card: ModelCard
    meta: JobMeta
    encoded: dict[int, Encoded] = field(default_factory=dict)
    failure: Failure | None = None
    stopped: bool = False
    computing_s: float = 0.0
    """Seconds in which the job got on; the clock of its deadline stands still while it is parked."""
    progress_at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """RQ's name of the execution: job id and execution id."""
        return str(self.execution.composite_key)

    @property
    def ended(self) -> bool:
        """Whether the job waits only for its commit."""
        return self.stopped or self.failure is not None or len(self.encoded) == self.spec.num_images

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
            )
            for index in range(spec.num_images)
        ]

    def write_progress(self, pipe: Pipeline, in_pool: int) -> None:
        """Write the evaluations done, given those of the rows that are still in the pool, if it is news."""
        of_finished_rows = len(self.encoded) * (self.meta.total // self.spec.num_images)
        completed = min(self.meta.total, of_finished_rows + in_pool)
        moment = time.monotonic()
        if completed != self.meta.completed:
            self.computing_s += moment - self.progress_at
            self.meta = self.meta.model_copy(update={"completed": completed})
            write_running_meta(pipe, self.job, self.meta)
        self.progress_at = moment

    def pictures(self, key_of: dict[int, str]) -> tuple[Picture, ...]:
        """What is said of the finished pictures; `key_of` tells where each lies."""
        return tuple(
            Picture(
                index=index,
                key=key_of[index],
                seed=self.spec.image_seed(index),
                class_label=self.spec.class_names[index] if self.spec.class_names else None,
                width=encoded.width,
                height=encoded.height,
                sha256=encoded.sha256,
            )
            for index, encoded in sorted(self.encoded.items())
        )
