"""What a process imports: nothing before it is needed. Modules are counted here, and not time."""

import json

import pytest
from programs import printed_by

OTHERS = {"celery", "kombu", "boto3", "botocore", "msgspec", "blake3", "ormsgpack", "stamina"}


def imported_by(source):
    """Return the modules that a new process has after a program."""
    program = f"{source}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    return set(json.loads(printed_by(program)))


def test_the_package_imports_no_vendor():
    """``import pipeline`` imports its errors and what Python has."""
    found = imported_by("import pipeline")

    assert {name for name in found if name.startswith("pipeline")} == {"pipeline", "pipeline.errors"}
    assert not found & OTHERS
    assert "importlib.metadata" not in found


@pytest.mark.parametrize("name", ["Claim", "Handle", "__version__"])
def test_a_name_that_needs_no_celery(name):
    """What an application stores or reads without Celery does not import it."""
    assert not imported_by(f"from pipeline import {name}") & {"celery", "kombu", "boto3", "botocore"}


def test_install_imports_what_a_producer_needs():
    """``pipeline.install`` imports no door, no worker, no tool and no other store: commands wait for it."""
    found = imported_by(
        "from celery import Celery\n"
        "import pipeline\n"
        "pipeline.install(Celery('shop', broker='sqs://'), store='s3://payloads/shop')"
    )

    unused = {
        "pipeline.doors", "pipeline.events", "pipeline.worker.steps", "pipeline.admin", "pipeline.gateway",
        "pipeline.stores.dynamodb", "pipeline.testing", "moto", "opentelemetry", "pycurl", "starlette",
    }  # fmt: skip
    assert not found & unused


def test_a_handler_imports_what_it_uses():
    """A cold start imports neither tools of operators nor another store, and no extra."""
    found = printed_by(
        """
        import sys
        from celery import Celery
        import pipeline
        from pipeline.aws_lambda import sqs_handler
        app = Celery("shop", broker="sqs://")
        pipeline.install(app, store="s3://payloads/shop")
        sqs_handler(app)
        names = {".".join(name.split(".")[:3]) for name in sys.modules}
        unused = {"pipeline.admin", "pipeline.cli", "pipeline.testing", "pipeline.local", "moto", "rich",
                  "pipeline.stores.dynamodb", "aws_lambda_powertools", "opentelemetry", "celery.beat"}
        print(sorted(names & unused))
        """
    )

    assert found == "[]\n"


def test_enrichments_import_no_celery():
    """A cold start of a pipe's enrichment imports neither Celery nor Kombu."""
    found = printed_by(
        """
        import sys
        from pipeline.aws_lambda import Enrichment
        Enrichment("dynamodb://payloads/orders")
        print(sorted({"celery", "kombu", "pipeline.stores.s3", "pipeline.transport"} & sys.modules.keys()))
        """
    )

    assert found == "[]\n"
