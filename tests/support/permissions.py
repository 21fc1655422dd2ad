"""The permissions that recorded calls need, and those that a role has."""

import re
from fnmatch import fnmatchcase
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ACTIONS = {
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
}
"""Permissions of S3 that are not named like their call. Source: Service Authorization Reference, S3."""

SERVICES = {"monitoring": "cloudwatch"}
"""Services whose permissions have another name than the scope of their signatures."""


class Use(NamedTuple):
    """One action on one resource."""

    action: str
    resource: str
    """How its ARN ends; empty where the service has no narrower resource."""


def uses(proxy):
    """Return what was asked for through a proxy."""
    return {use for request in tuple(proxy.requests) for use in _uses(request)}


def _uses(request):
    service, name = _service(request), request.operation
    if service == "s3":
        path = request.path.strip("/")
        for key in request.fields.get("Keys", [None]):
            yield Use(f"s3:{ACTIONS.get(name, name)}", f"{path}/{key}" if key else path)
        return
    yield Use(f"{service}:{name.removesuffix('Batch')}", _resource(request.fields))
    if name == "CreateQueue" and "tags" in request.fields:
        # Source: SQS API Reference, CreateQueue: tags need the permission of TagQueue.
        yield Use("sqs:TagQueue", _resource(request.fields))


def _service(request):
    """Return the service that the signature is for."""
    text = request.headers.get("authorization", "") + unquote(request.query.get("X-Amz-Credential", ""))
    service = re.search(r"/(\w+)/aws4_request", text)[1]
    return SERVICES.get(service, service)


def _resource(fields):
    for name in ("QueueUrl", "QueueName", "TopicArn", "Name", "TableName"):
        if name in fields:
            return urlsplit(fields[name]).path.rpartition("/")[2].rpartition(":")[2]
    return ""


def statements(aws, role):
    """Return the statements of all policies of a role."""
    iam = aws.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    return [statement for document in documents for statement in document["Statement"]]


def _listed(value):
    return value if isinstance(value, list) else [value]


def grants(aws, role):
    """Return the actions that a role may take, each with a pattern of its resources."""
    return {
        Use(action, resource)
        for statement in statements(aws, role)
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    }


def is_for(grant, use):
    """Say whether a grant allows a use."""
    end = re.split(r"[:/]", grant.resource, maxsplit=5)[-1].removeprefix("::").removeprefix("table/")
    return grant.action == use.action and (fnmatchcase(use.resource, end) or grant.resource == "*")
