"""A small web service for clients without AWS credentials: upload a file, follow its task, read a payload.

It gives out presigned URLs; no payload passes through it. ``app`` puts it together, ``operations`` describes
what can be requested, ``uploads``, ``claims`` and ``task_states`` do it, ``authentication`` says for whom,
``openapi`` and ``pages`` are what people read. Needs the extra ``gateway``.
"""

from pipeline.gateway.app import create_app
from pipeline.gateway.authentication import Anyone, BearerTokens
from pipeline.gateway.uploads import Limits

__all__ = ["Anyone", "BearerTokens", "Limits", "create_app"]
