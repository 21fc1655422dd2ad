"""The enrichments of two EventBridge Pipes: ``pipe_enrichment.split`` and ``pipe_enrichment.retrieve``.

STORE is in the environment of both functions, such as ``dynamodb://payloads/orders``. Rules match on the
field ``kind``, which stays in the event.
"""

import os

from pipeline.aws_lambda import Enrichment

enrichment = Enrichment(os.environ["STORE"], keep=["kind"])
split, retrieve = enrichment.split, enrichment.retrieve
