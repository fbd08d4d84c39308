"""What is submitted is read back; what somebody else wrote is no job, and nothing of it is run."""

import io
import json
import pickle
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue

from jobs import keys
from jobs.errors import JobNotFound
from jobs.queue import ServiceJob
from jobs.record import JobMeta, Picture, Status
from jobs.request import JobRequest, resolve
from jobs.spec import JobSpec
from jobs.store import JobStore
from tests import cards

JOB_ID = "job_" + "0123456789ab" * 2


def a_spec(**fields: Any) -> JobSpec:
    return resolve(JobRequest(**fields), cards.catalogue(), 16_000)


def submit(with_store: Any, spec: JobSpec, evaluations: int = 100) -> Any:
    return with_store(lambda store: store.submit(spec, evaluations))


def get(with_store: Any, job_id: str) -> Any:
    return with_store(lambda store: store.get(job_id))


def test_a_submitted_job_is_read_back_as_it_was(with_store: Any) -> None:
    spec = a_spec(seed=7, num_images=3, metadata={"a": "ü\u0000\n"})
    record = submit(with_store, spec)
    assert (record.status, record.spec, record.meta.total) == (Status.QUEUED, spec, 100)
    assert (record.started_at, record.finished_at, record.expires_at, record.failure) == (None,) * 4
    assert get(with_store, record.id) == record


def test_every_job_has_an_id_of_its_own_and_waits_in_order(with_store: Any, redis: Redis) -> None:
    ids = [submit(with_store, a_spec(seed=seed)).id for seed in range(5)]
    assert len(set(ids)) == 5
    (queue,) = Queue.all(connection=redis)
    assert queue.job_ids == ids


@pytest.mark.parametrize(
    "job_id", ["", "job_", "job_" + "0" * 23, "job_" + "0" * 25, "job_" + "Z" * 24, "0" * 24, "job_" + "٠" * 24]
)
def test_what_is_no_job_id_is_never_looked_up(with_store: Any, redis: Redis, job_id: str) -> None:
    redis.hset(f"rq:job:{job_id}", mapping=forged())
    with pytest.raises(JobNotFound):
        get(with_store, job_id)


def test_an_unknown_job_is_not_found(with_store: Any) -> None:
    with pytest.raises(JobNotFound, match="or it has expired"):
        get(with_store, JOB_ID)


def test_a_picture_is_read_and_one_that_is_gone_is_told(with_store: Any, redis: Redis) -> None:
    picture = Picture(
        index=0, key=keys.picture(JOB_ID, "e", 0), seed=1, class_label=None, width=1, height=1, sha256="0"
    )
    redis.set(picture.key, b"\x89PNG\x00")
    assert with_store(lambda store: store.picture(picture)) == b"\x89PNG\x00"
    redis.delete(picture.key)
    with pytest.raises(JobNotFound, match="expired"):
        with_store(lambda store: store.picture(picture))


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return (Path.touch, (self.proof,))


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that appears when `unfog_trap` is imported or a `Payload` is unpickled."""
    path = tmp_path / "proof"
    (tmp_path / "unfog_trap.py").write_text(
        f"from pathlib import Path\nPath({str(path)!r}).touch()\ndef spring(*a, **k): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    assert "unfog_trap" not in sys.modules


def forged(**fields: Any) -> Any:
    """The hash of a good job, with changes; None takes a field out."""
    call: list[Any] = ["unfog.generate", None, [], {"spec": a_spec(seed=7).model_dump_json()}]
    whole = {
        "data": zlib.compress(json.dumps(call).encode()),
        "meta": JobMeta(total=100).model_dump_json(),
        "status": "queued",
        "created_at": "2024-01-01T00:00:00.000000Z",
        "origin": "unfog.fruit-16",
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def calling(name: str, named: Any = None, arguments: Any = ()) -> bytes:
    return zlib.compress(json.dumps([name, None, list(arguments), named or {}]).encode())


def test_the_forged_hashes_below_are_bad_for_one_reason_each(with_store: Any, redis: Redis) -> None:
    redis.hset(f"rq:job:{JOB_ID}", mapping=forged())
    assert get(with_store, JOB_ID).spec.seed == 7


def foreign_hashes(proof: Path) -> dict[str, Any]:
    pickled = pickle.dumps(Payload(proof))
    spec = json.loads(a_spec(seed=7).model_dump_json())
    return {
        "a pickled call": forged(data=zlib.compress(pickled)),
        "a pickled call, not compressed": forged(data=pickled),
        "a pickled meta": forged(meta=pickled),
        "another function": forged(data=calling("unfog_trap.spring", {"spec": json.dumps(spec)})),
        "os.system": forged(data=calling("os.system", arguments=[f"touch {proof}"])),
        "no arguments": forged(data=calling("unfog.generate")),
        "a spec that is no JSON": forged(data=calling("unfog.generate", {"spec": "{"})),
        "a spec with a seed too large": forged(
            data=calling("unfog.generate", {"spec": json.dumps({**spec, "seed": 2**32})})
        ),
        "a call that is no list": forged(data=zlib.compress(b'{"a": 1}')),
        "a call that is too short": forged(data=zlib.compress(b'["unfog.generate"]')),
        "data that is noise": forged(data=b"\x00\xff\x80"),
        "data that is empty": forged(data=b""),
        "no data": forged(data=None),
        "no meta": forged(meta=None),
        "a meta without a total": forged(meta="{}"),
        "a meta that would divide by nothing": forged(meta='{"total": 0}'),
        "a status that there is not": forged(status="enchanted"),
        "a date that is none": forged(created_at="yesterday"),
        "bytes that are no text": forged(origin=b"\xff\xfe"),
    }


@pytest.mark.parametrize("kind", foreign_hashes(Path("proof")))
def test_a_hash_that_this_service_did_not_write_is_no_job_and_runs_nothing(
    with_store: Any, redis: Redis, proof: Path, kind: str
) -> None:
    fields = foreign_hashes(proof)[kind]
    redis.hset(f"rq:job:{JOB_ID}", mapping=fields)
    with pytest.raises(JobNotFound):
        get(with_store, JOB_ID)
    assert not proof.exists()


def test_the_payload_of_these_tests_would_leave_its_proof_if_it_were_unpickled(proof: Path) -> None:
    pickle.load(io.BytesIO(pickle.dumps(Payload(proof))))
    assert proof.exists()


def test_a_key_of_another_type_is_no_job(with_store: Any, redis: Redis) -> None:
    redis.set(f"rq:job:{JOB_ID}", "text")
    with pytest.raises(JobNotFound):
        get(with_store, JOB_ID)


def test_callbacks_named_in_redis_are_words_and_are_never_imported(
    with_store: Any, redis: Redis, proof: Path
) -> None:
    names = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
    redis.hset(f"rq:job:{JOB_ID}", mapping=forged(**dict.fromkeys(names, "unfog_trap.spring")))
    assert get(with_store, JOB_ID).spec.seed == 7
    job = cards.fetch(redis, JOB_ID)
    assert (job.func, job.success_callback, job.failure_callback, job.stopped_callback) == (None,) * 4
    assert not proof.exists()


def test_a_job_performed_by_rqs_own_means_calls_nothing(redis: Redis, proof: Path) -> None:
    redis.hset(f"rq:job:{JOB_ID}", mapping=forged(data=calling("unfog_trap.spring")))
    job = cards.fetch(redis, JOB_ID)
    assert isinstance(job, ServiceJob)
    with pytest.raises(ValueError, match="function is None"):
        job.perform()
    assert not proof.exists()


def test_the_store_says_how_redis_is_set_up(with_store: Any) -> None:
    async def health(store: JobStore) -> Any:
        return await store.health()

    assert with_store(health)["maxmemory_policy"] == "noeviction"
