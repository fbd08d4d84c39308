"""What jobs and worker.consumer lean on inside RQ. Another RQ fails here first, and by name.

Each entry is something that RQ does not promise. Who raises the pin in pyproject.toml reads the RQ side of what
failed, then our override or caller, then changes the list.
"""

import inspect
import uuid
from importlib.metadata import version
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue, SimpleWorker, executions, intermediate_queue, registry, suspension, worker_registration
from rq.command import PUBSUB_CHANNEL_TEMPLATE, parse_payload, send_stop_job_command
from rq.executions import Execution
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import (
    BaseRegistry,
    CanceledJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.worker import BaseWorker, WorkerStatus

from jobs.queue import ServiceJob, ServiceQueue
from worker.consumer.batch_worker import BatchWorker


def parameters(function: object) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]  # type: ignore[arg-type]


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("rq") == "3.0.0"


OVERRIDDEN = {
    "get_heartbeat_ttl": ["job", "working_time"],
    "request_stop": ["signum", "frame"],
    "handle_payload": ["message"],
    "clean_registries": [],
}


@pytest.mark.parametrize("method", OVERRIDDEN)
def test_what_the_worker_overrides_is_there_with_these_parameters(method: str) -> None:
    assert parameters(getattr(BaseWorker, method)) == OVERRIDDEN[method]
    assert method in vars(BatchWorker)


CALLED = {
    "bootstrap": ["logging_level", "date_format", "log_format"],
    "_install_signal_handlers": [],
    "heartbeat": ["timeout", "pipeline"],
    "set_state": ["state", "pipeline"],
    "get_state": [],
    "serialize": [],
    "subscribe": [],
    "teardown": [],
    "register_birth": [],
    "run_maintenance_tasks": [],
    "queue_names": [],
    "queue_keys": [],
    "increment_successful_job_count": ["pipeline"],
    "increment_failed_job_count": ["pipeline"],
    "increment_total_working_time": ["job_execution_time", "pipeline"],
}


@pytest.mark.parametrize("method", CALLED)
def test_what_the_worker_calls_of_rq_takes_these_parameters(method: str) -> None:
    assert parameters(getattr(BaseWorker, method)) == CALLED[method]


def test_the_workers_properties_are_properties() -> None:
    for name in ("connection_timeout", "should_run_maintenance_tasks", "key", "pubsub_channel_name"):
        assert isinstance(getattr(BaseWorker, name), property), name


def test_the_socket_timeout_is_set_by_the_property_that_we_override() -> None:
    """Else a worker would wait minutes for a Redis that hangs."""
    assert "self.connection_timeout" in inspect.getsource(BaseWorker._set_connection)


def test_signals_reach_the_method_that_we_override() -> None:
    source = inspect.getsource(BaseWorker._install_signal_handlers)
    assert source.count("self.request_stop") == 2


def test_maintenance_calls_the_method_that_we_override() -> None:
    assert "self.clean_registries()" in inspect.getsource(BaseWorker.run_maintenance_tasks)


def test_a_fresh_worker_has_the_attributes_that_we_use(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        worker = SimpleWorker([Queue("q", connection=redis)], connection=redis)
        assert worker.executions == {}
        assert (worker.last_cleaned_at, worker.pubsub_thread, worker.scheduler) == (None, None, None)
        assert worker.worker_ttl
        assert worker.key == f"rq:worker:{worker.name}"
        assert worker.executions_key == f"rq:worker:{worker.name}:executions"
        assert worker.is_horse is False


HEARTBEAT_COMMANDS = ["HSET", "EXPIRE", "EXPIRE"]
EXECUTION_HEARTBEAT_COMMANDS = ["HSET", "EXPIRE", "ZADD", "ZADD", "EXPIRE"]


def test_heartbeats_put_these_commands_into_a_pipeline(redis_url: str) -> None:
    """The worker reads the answers of its heartbeat by their place."""
    with Redis.from_url(redis_url) as redis:
        worker = SimpleWorker([Queue("q", connection=redis)], connection=redis)
        execution = Execution("e", "j", redis, worker.name)
        with redis.pipeline() as pipe:
            worker.heartbeat(60, pipeline=pipe)
            assert [command[0][0] for command in pipe.command_stack] == HEARTBEAT_COMMANDS
            pipe.reset()
            execution.heartbeat(StartedJobRegistry("q", connection=redis), 10, pipeline=pipe)
            assert [command[0][0] for command in pipe.command_stack] == EXECUTION_HEARTBEAT_COMMANDS
            assert all(command[1].get("xx", True) for command in pipe.command_stack)


def test_an_execution_is_written_under_these_keys_and_leaves_none(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        queue = ServiceQueue("q", connection=redis)
        job = queue.create_job("f", job_id="j")
        with redis.pipeline() as pipe:
            execution = Execution.create(job, 10, pipeline=pipe, worker_name="w")
            pipe.execute()
        key = f"j:{execution.id}"
        assert execution.composite_key == key
        assert {name.decode() for name in redis.scan_iter()} == {
            f"rq:execution:{key}",
            "rq:executions:j",
            "rq:wip:q",
            "rq:worker:w:executions",
        }
        assert redis.smembers("rq:worker:w:executions") == {key.encode()}
        assert redis.zscore("rq:executions:j", execution.id) is not None
        assert redis.zscore("rq:wip:q", key) is not None
        assert job.execution_registry.key == "rq:executions:j"
        again = Execution.from_composite_key(key, redis)
        again.worker_name = "w"
        with redis.pipeline() as pipe:
            again.delete(job=job, pipeline=pipe)
            pipe.execute()
        assert redis.keys() == []


def test_a_job_is_enqueued_in_a_pipeline_without_a_read(redis_url: str) -> None:
    """The jobs of a dead worker are queued again inside a transaction."""
    with Redis.from_url(redis_url) as redis:
        queue = ServiceQueue("q", connection=redis)
        queue.redis_server_version = (6, 2, 0)
        job = queue.create_job("f", job_id="j", status=JobStatus.STARTED)
        with redis.pipeline() as pipe:
            queue.enqueue_job(job, pipeline=pipe, at_front=True)
            commands = [command[0][0] for command in pipe.command_stack]
            assert commands == ["SADD", "HSET", "HSET", "LPUSH"]
            pipe.execute()
        assert redis.lrange("rq:queue:q", 0, -1) == [b"j"]
        assert redis.hget("rq:job:j", "status") == b"queued"
        assert redis.sismember("rq:queues", "rq:queue:q")


def test_a_job_is_ended_in_a_pipeline_without_a_read(redis_url: str) -> None:
    """Also in one of the asynchronous client, which answers nothing before it is executed."""
    with Redis.from_url(redis_url) as redis:
        job = ServiceQueue("q", connection=redis).create_job("f", job_id="j")
        with redis.pipeline() as pipe:
            job.set_status(JobStatus.CANCELED, pipeline=pipe)
            job.save(pipeline=pipe, include_result=False)
            Result.create(job, Result.Type.STOPPED, 10, pipeline=pipe)
            job.cleanup(10, pipeline=pipe, remove_from_queue=False)
            commands = [command[0][0] for command in pipe.command_stack]
        assert commands == ["HSET", "HSET", "XADD", "EXPIRE", "EXPIRE", "EXPIRE", "EXPIRE"]


def test_preparing_a_job_writes_one_hash(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis, redis.pipeline() as pipe:
        ServiceJob("j", connection=redis).prepare_for_execution("w", pipeline=pipe)
        ((command, _),) = [entry[:2] for entry in pipe.command_stack]
        assert command[:2] == ("HSET", "rq:job:j")
        assert {"status", "worker_name", "started_at"} <= set(command[2::2])


def test_the_intermediate_list_has_the_methods_that_we_use(redis_url: str) -> None:
    for method in ("get_job_ids", "set_first_seen", "get_first_seen", "get_first_seen_key"):
        assert callable(getattr(IntermediateQueue, method)), method
    assert parameters(IntermediateQueue.cleanup) == ["worker", "queue"]
    with Redis.from_url(redis_url) as redis:
        queue = ServiceQueue("q", connection=redis)
        assert queue.intermediate_queue_key == queue.intermediate_queue.key == "rq:queue:q:intermediate"
        assert queue.acquire_maintenance_lock()
        assert 0 < redis.ttl(queue.registry_cleaning_key) <= 10


def test_the_keys_that_we_write_by_name_are_rqs() -> None:
    assert worker_registration.REDIS_WORKER_KEYS == "rq:workers"
    assert worker_registration.WORKERS_BY_QUEUE_KEY == "rq:workers:%s"
    assert executions.WORKER_EXECUTIONS_KEY_TEMPLATE.format("w") == "rq:worker:w:executions"
    assert Queue.redis_queues_keys == "rq:queues"
    assert Queue.redis_queue_namespace_prefix == "rq:queue:"
    assert Job.redis_job_namespace_prefix == "rq:job:"
    assert BaseWorker.redis_worker_namespace_prefix == "rq:worker:"
    assert suspension.WORKERS_SUSPENDED == "rq:suspended"
    assert PUBSUB_CHANNEL_TEMPLATE == "rq:pubsub:%s"
    assert Result.get_key("j") == "rq:results:j"


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (StartedJobRegistry, "rq:wip:q"),
        (FinishedJobRegistry, "rq:finished:q"),
        (FailedJobRegistry, "rq:failed:q"),
        (CanceledJobRegistry, "rq:canceled:q"),
    ],
)
def test_registries_have_these_keys(redis_url: str, kind: type[BaseRegistry], key: str) -> None:
    with Redis.from_url(redis_url) as redis:
        assert kind("q", connection=redis).key == key


def test_jobs_have_the_registries_that_we_name(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        job = ServiceQueue("q", connection=redis).create_job("f")
        assert job.started_job_registry.key == "rq:wip:q"
        assert job.finished_job_registry.key == "rq:finished:q"
        assert job.failed_job_registry.key == "rq:failed:q"


def test_what_could_import_a_name_from_redis_is_a_property_that_we_replace() -> None:
    for name in ("func", "success_callback", "failure_callback", "stopped_callback"):
        assert isinstance(inspect.getattr_static(Job, name), property), name
        assert name in vars(ServiceJob), name
    others = {name for name in vars(Job) if name.endswith("_callback")}
    assert others == {"success_callback", "failure_callback", "stopped_callback"}, "a new kind of callback"


def test_a_job_is_restored_from_a_raw_hash_without_redis() -> None:
    assert parameters(Job.restore) == ["raw_data"]
    assert parameters(Job.to_dict)[0] == "include_meta"
    assert "include_result" in parameters(Job.to_dict)
    assert "include_result" in parameters(Job.save)


def test_results_take_what_we_write() -> None:
    wanted = {"return_value", "exc_string", "worker_name", "pipeline", "execution_id", "execution_started_at"}
    assert wanted <= set(parameters(Result.create))
    assert [kind.value for kind in (Result.Type.SUCCESSFUL, Result.Type.FAILED, Result.Type.STOPPED)] == [1, 2, 3]


def test_a_stop_command_is_json_with_these_fields() -> None:
    message = {"data": JSONSerializer.dumps({"command": "stop-job", "job_id": "j"})}
    assert parse_payload(message) == {"command": "stop-job", "job_id": "j"}
    assert "'stop-job', job_id=job_id" in inspect.getsource(send_stop_job_command)


def test_the_rest_that_is_imported_by_name() -> None:
    assert (WorkerStatus.BUSY, WorkerStatus.IDLE) == ("busy", "idle")
    assert issubclass(TimerDeathPenalty, object)
    assert registry.BaseRegistry.key_template.startswith("rq:")
    assert intermediate_queue.IntermediateQueue is IntermediateQueue


def test_a_worker_record_that_expired_is_seen_in_the_heartbeats_first_answer(redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        worker = SimpleWorker([Queue("q", connection=redis)], name=uuid.uuid4().hex, connection=redis)
        answers = []
        for _ in range(2):
            with redis.pipeline() as pipe:
                worker.heartbeat(60, pipeline=pipe)
                answers.append(pipe.execute()[0])
        assert answers == [1, 0]


def test_nothing_else_imports_from_rq() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    importers = {
        str(path.relative_to(root))
        for room in ("app", "jobs", "models", "service", "unfog", "worker")
        for path in (root / room).rglob("*.py")
        if any(line.startswith(("from rq", "import rq")) for line in path.read_text().splitlines())
    }
    of_jobs = ("cancel", "ending", "queue", "record", "recovery", "store", "tidying")
    allowed = {f"jobs/{name}.py" for name in of_jobs}
    consumer = ("batch_worker", "claim", "commit", "execution", "heartbeat")
    allowed |= {f"worker/consumer/{name}.py" for name in consumer}
    assert importers == allowed
