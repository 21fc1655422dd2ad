"""Settings of this deployment, typed, from the environment.

pydantic-settings rather than a dataclass: it reads and converts the environment, and its errors name the
variable that is wrong, but no value, as some are secrets. Names are Celery's own where Celery has one
(``CELERY_TASK_TIME_LIMIT`` sets ``task_time_limit``), and else those of :class:`pipeline.options.Options`
(``CLAIMCHECK_…``).
"""

from typing import Any, Self

from kombu import Queue
from pydantic import Field, PositiveInt, SecretBytes, SecretStr, TypeAdapter, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.metrics import CloudWatchSink

MINUTE_SECONDS = 60

QUEUES = ("default", "bulk")
ROUTES = {
    "reports.*": {"queue": "default"},
    "tables.*": {"queue": "default"},
    "archives.*": {"queue": "bulk"},
    "exports.*": {"queue": "bulk"},
}


class CelerySettings(BaseSettings):
    """Celery's settings. The defaults are the safe ones for SQS, not Celery's."""

    model_config = SettingsConfigDict(env_prefix="CELERY_", hide_input_in_errors=True)

    broker_url: str = "sqs://"
    """Without host and credentials, so that boto3's own chain finds them and no secret is in a URL."""
    result_backend: str = "disabled://"
    result_serializer: str = "claimcheck"
    task_acks_late: bool = True
    """The messages of a worker that dies stay on the queue."""
    task_reject_on_worker_lost: bool = True
    """So does the message of a child that is killed."""
    task_soft_time_limit: PositiveInt = 14 * MINUTE_SECONDS
    task_time_limit: PositiveInt = 15 * MINUTE_SECONDS
    worker_prefetch_multiplier: PositiveInt = 1
    """A busy worker prefetches no more messages."""
    worker_concurrency: PositiveInt | None = None
    worker_max_memory_per_child: PositiveInt | None = None
    """KiB; a child that used more memory is replaced, which frees it."""
    visibility_timeout: PositiveInt = MINUTE_SECONDS
    """Time after which another worker runs the tasks of a worker that died; a running worker extends it."""
    wait_time_seconds: int = Field(default=20, ge=0, le=20)
    """Long polling: an empty queue costs three calls a minute, not sixty."""
    queue_name_prefix: str = ""
    worker_send_task_events: bool = True
    """For Flower and ``celery events``: some SNS calls for hundreds of tasks.

    docs/operate/monitoring.md has the figures."""
    worker_enable_remote_control: bool = True

    def as_celery(self) -> dict[str, Any]:
        """Return the configuration under Celery's lower-case names."""
        transport = {"visibility_timeout", "wait_time_seconds", "queue_name_prefix"}
        return {
            **self.model_dump(exclude=transport, exclude_none=True),
            "broker_transport_options": self.model_dump(include=transport) | {"polling_interval": 0},
            "broker_connection_retry_on_startup": True,
            "task_default_queue": QUEUES[0],
            "task_queues": [Queue(name) for name in QUEUES],
            "task_routes": ROUTES,
            "task_create_missing_queues": False,
        }


class ClaimCheckSettings(BaseSettings):
    """Arguments of :func:`pipeline.install`."""

    model_config = SettingsConfigDict(env_prefix="CLAIMCHECK_", hide_input_in_errors=True)

    store: str = "s3://claimcheck-demo/claims"
    threshold_bytes: int = 262_144
    broker_limit_bytes: int = 1_048_576
    payload_limit_bytes: int = 1_073_741_824
    server_side_encryption: str | None = None
    kms_key_id: str | None = None
    metrics_namespace: str | None = None
    """Namespace of metrics in CloudWatch; None means that of ``CloudWatchSink``."""
    signing_key: SecretBytes | None = None
    accept_unsigned: bool = False

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ValueError("CLAIMCHECK_KMS_KEY_ID needs CLAIMCHECK_SERVER_SIDE_ENCRYPTION=aws:kms")
        return self

    def as_options(self) -> dict[str, Any]:
        """Return the keyword arguments of :func:`pipeline.install`."""
        key = self.signing_key.get_secret_value() if self.signing_key else None
        metrics = CloudWatchSink(self.metrics_namespace) if self.metrics_namespace else None
        own = {"signing_key", "metrics_namespace"}
        return {**self.model_dump(exclude=own), "signing_key": key, "metrics": metrics}


class UploadSettings(BaseSettings):
    """Uploads of clients without AWS credentials: ``tasks/uploads.py``."""

    model_config = SettingsConfigDict(env_prefix="UPLOADS_", hide_input_in_errors=True)

    store: str = "s3://claimcheck-demo/input"
    """Where clients upload to: S3 notifies the queue of what is created there."""
    queue: str = "uploads"
    tokens: SecretStr = SecretStr("{}")
    """Access tokens, as JSON: the name of each user by token."""
    size_limit_bytes: PositiveInt = 5 * 1024**3
    media_types: list[str] = ["text/csv"]

    def users(self) -> dict[str, str]:
        """Return the name of each user, by token."""
        return TypeAdapter(dict[str, str]).validate_json(self.tokens.get_secret_value())
