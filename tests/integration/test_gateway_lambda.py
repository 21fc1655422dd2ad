"""The gateway answers API Gateway's events in AWS Lambda as it answers HTTP."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-some-length"

PROGRAM = """
import json, sys
from examples.gateway_lambda import handler
print(json.dumps([handler(event, None) for event in json.load(sys.stdin)]))
"""


def event(method, path, body=None, **headers):
    """Return an event as API Gateway's HTTP API sends it.

    Source: API Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP APIs".
    """
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "id.execute-api.eu-west-1.amazonaws.com", **headers},
        "requestContext": {"http": http, "stage": "$default", "domainName": "id.execute-api.amazonaws.com"},
        "body": body and json.dumps(body),
        "isBase64Encoded": False,
    }


def test_the_gateway_runs_in_lambda():
    """The same requests have the same answers: public, without a token, and an upload that begins."""
    file = {"name": "a.csv", "media_type": "text/csv", "size_bytes": 5, "sha256": "A" * 43 + "="}
    events = [
        event("GET", "/health"),
        event("POST", "/uploads", file),
        event("POST", "/uploads", file, authorization=f"Bearer {TOKEN}"),
    ]
    variables = {"UPLOADS_TOKENS": json.dumps({TOKEN: "ada"}), "AWS_DEFAULT_REGION": "eu-west-1"}
    variables |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(events), capture_output=True, text=True, timeout=60,
        check=False, cwd=ROOT, env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    health, denied, begun = json.loads(done.stdout)

    assert (health["statusCode"], json.loads(health["body"])) == (200, {"ok": True})
    assert denied["statusCode"] == 401
    assert begun["statusCode"] == 201
    assert json.loads(begun["body"])["request"]["url"].startswith("https://claimcheck-demo.s3")
