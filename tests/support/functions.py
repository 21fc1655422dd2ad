"""Lambda functions on ministack: a file of ``examples/`` as the code, this environment as its layer."""

import io
import json
import site
import sys
import zipfile
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ROLE = "arn:aws:iam::000000000000:role/function"
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def zipped(files):
    """Return a zip archive of texts by name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        for name, text in files.items():
            writing.writestr(name, text)
    return archive.getvalue()


def layer():
    """Return a layer that leads to the packages of this environment, before those of the stand-in.

    A layer of copies would be 100 MB. ministack runs a function in its own interpreter, and reads ``.pth``
    files in the site directory of a layer.
    """
    paths = [str(ROOT), *site.getsitepackages()]
    line = f"import sys; sys.path[:0] = {paths!r}"
    return zipped({f"python/lib/{RUNTIME}/site-packages/ours.pth": line})


class Function:
    """A function that is deployed from a file of ``examples/``."""

    def __init__(self, aws, module, handler="handler", **variables):
        self._aws, self._lambda = aws, aws.client("lambda")
        self.name = f"function-{uuid4().hex[:8]}"
        version = self._lambda.publish_layer_version(LayerName=self.name, Content={"ZipFile": layer()})
        self._lambda.create_function(
            FunctionName=self.name, Runtime=RUNTIME, Role=ROLE, Handler=f"{module}.{handler}", Timeout=30,
            Code={"ZipFile": zipped({f"{module}.py": (EXAMPLES / f"{module}.py").read_text()})},
            Layers=[version["LayerVersionArn"]], Environment={"Variables": variables},
        )  # fmt: skip

    def consume(self, queue):
        """Make a queue its event source, with partial batch responses."""
        self._lambda.create_event_source_mapping(
            FunctionName=self.name, EventSourceArn=self._aws.attributes(queue)["QueueArn"], BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )  # fmt: skip

    def invoke(self, event):
        """Call it, and return what it returns."""
        answer = self._lambda.invoke(FunctionName=self.name, Payload=json.dumps(event))
        content = answer["Payload"].read().decode()
        assert "FunctionError" not in answer, content
        return json.loads(content)
