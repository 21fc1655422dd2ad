"""What this library writes into the headers of a message, beside the body."""

SHARED = "claimcheck-shared"
"""Header of a message that went to several queues: how many have a ledger for its payload, or 0 without one.

Each queue's end counts in the ledger. Without one, nothing but the sweep ends the payload: a broadcast has
any number of receivers."""

REMOVES = "claimcheck-removes"
"""Header of a task that came through a door: the handle of the object that ends with the task. Retries and
messages that are published again have it too. It counts on the queue of a door that deletes, and nowhere
else."""

NAME = "claimcheck"
"""Name of the serializer, and of the header that describes the payload: sizes, key, wait until the ETA."""

SEE_ARGS = "<see args>"
"""What monitors show as keyword arguments: they are in one payload with the positional ones."""


def id_text(value: object) -> str:
    """Return the text of a task's id, as Celery's result backends make it of a UUID and of bytes.

    Source: celery 5.7.0, ``backends/base.py`` (``KeyValueStoreBackend._get_key_for``).

    Raises:
        ValueError: the id is bytes that are no UTF-8.
    """
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise ValueError("task_id is bytes that are not UTF-8: pass a str or a uuid.UUID") from None
