"""What Kombu loads through the entry point group ``kombu.serializers``.

Kombu does so while ``kombu.serialization`` is being imported, so nothing here may import Kombu or Celery
before it is called. Source: kombu 5.7.0, ``serialization.py``, last lines.
"""

from typing import Any

from pipeline.claim import CONTENT_TYPE


def encode(body: Any) -> bytes:
    """See :func:`pipeline.serializer.encode`."""
    from pipeline import serializer  # noqa: PLC0415

    return serializer.encode(body)


def decode(body: bytes) -> Any:
    """See :func:`pipeline.serializer.decode`."""
    from pipeline import serializer  # noqa: PLC0415

    return serializer.decode(body)


registration = (encode, decode, CONTENT_TYPE, "binary")
"""Arguments of Kombu's ``register``, after the name."""
