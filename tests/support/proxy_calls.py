"""Plain calls through the proxy, for the tests of the proxy itself."""

from botocore.config import Config

ONCE = Config(retries={"total_max_attempts": 1})
LIST_BUCKETS = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"


def fetch(line, path="/"):
    line.request("GET", path)
    return line.getresponse().read()
