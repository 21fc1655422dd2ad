"""Every other template is created on a stand-in, and runs there from end to end as far as that can."""

import json
import subprocess

import pytest
from lambda_events import record
from sample_fixtures import entered
from stacks import Deployment, code_of, keys, looped, process
from workers import eventually

from deploy.templates import template
from tasks.demo.scaling.shipped import scaling

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def deployment(ministack, monkeypatch):
    return Deployment(entered(ministack, monkeypatch))


def _check():
    """Return the health check of a container, as a shell runs it."""
    definition = looped("workers.yaml", "Workers")["Task${Name}"]["Properties"]
    return definition["ContainerDefinitions"][0]["HealthCheck"]["Command"][1]


def test_a_task_runs_on_ecs(deployment, tmp_path):
    """The command and the environment of the service's task definition run a task, and its check passes."""
    deployment.make("deploy-core")
    deployment.make("deploy-workers", IMAGE="registry.example/claimcheck:1")
    family = f"claimcheck-default-{deployment.id}"
    ecs = deployment.aws.client("ecs")
    definition = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    [container] = definition["containerDefinitions"]
    alive = tmp_path / "alive"
    environment = {each["name"]: each["value"] for each in container["environment"]}
    environment |= {"WORKER_ALIVE_FILE": str(alive), "CELERY_WAIT_TIME_SECONDS": "1"}
    with process(container["command"], environment, tmp_path):
        assert float(deployment.make("task")) > 0
        check = _check().replace("/tmp/alive", str(alive))
        assert subprocess.run(["sh", "-c", check], check=False).returncode == 0
    assert subprocess.run(["sh", "-c", check], check=False, stderr=subprocess.DEVNULL).returncode == 1
    assert container["stopTimeout"] > int(environment["CELERY_TASK_TIME_LIMIT"])


def test_each_queue_has_its_own_backlog(deployment):
    """CloudFormation computes the metric that scales a queue's workers as the simulation reads it."""
    backlogs = {"bulk": {"PerWorker": 500}, "mail": {"PerWorker": 10}}
    queues = ("bulk", "mail", "other")
    tracking = looped("workers.yaml", "Scaling")["Track${Name}"]["Properties"]
    metrics = tracking["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]["Metrics"]
    shown = {"Name": {"Ref": "Name"}, "Type": "String", "Value": metrics[-1]["Expression"]}
    loop = ["Name", queues, {"Shown${Name}": {"Type": "AWS::SSM::Parameter", "Properties": shown}}]
    content = {
        "Transform": "AWS::LanguageExtensions",
        "Parameters": {
            name: each for name, each in template("workers.yaml")["Parameters"].items() if "Default" in each
        },
        "Mappings": {"Backlogs": backlogs},
        "Resources": {"Fn::ForEach::Shown": loop},
    }
    cloudformation = deployment.aws.client("cloudformation")
    cloudformation.create_stack(StackName=deployment.id, TemplateBody=json.dumps(content))
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=deployment.id, WaiterConfig={"Delay": 1})

    for queue in queues:
        value = deployment.aws.client("ssm").get_parameter(Name=queue)["Parameter"]["Value"]
        assert value == scaling(queue, Backlogs=backlogs).metric


def test_a_task_runs_in_lambda(deployment, tmp_path):
    """The queues of the stack invoke the function, which runs a task, and its payload is gone afterwards."""
    deployment.make("deploy-core", PARAMETERS="VisibilityTimeoutSeconds=1800")
    code = code_of(tmp_path / "code.zip", "tasks.aws_lambda")
    handler = "Handler=deployed_aws_lambda.handler"
    deployment.make("deploy-lambda", CODE=code, PARAMETERS=handler)

    assert float(deployment.make("task")) > 0
    bucket = deployment.resources()["Bucket"]
    eventually(lambda: [key for key in keys(deployment.aws, bucket) if key.startswith("claims/")] == [])


def test_an_upload_becomes_a_task(deployment, tmp_path):
    """The gateway of the stack gives out a URL, S3 notifies the queue, and a worker runs the file's task."""
    deployment.make("deploy-core")
    code = code_of(tmp_path / "code.zip", "examples.gateway_lambda")
    tokens = json.dumps({"a-token-of-some-length": "ada"}, separators=(",", ":"))
    deployment.make(
        "deploy-gateway", CODE=code, PARAMETERS=f"Handler=deployed_gateway_lambda.handler 'Tokens={tokens}'"
    )
    function = deployment.resources("gateway")["Function"]
    settings = deployment.settings() | deployment.settings("gateway") | {"CELERY_WAIT_TIME_SECONDS": "1"}
    bucket = deployment.resources("gateway")["Bucket"]
    with process("celery -A tasks.uploads worker -P threads -c 1 -l INFO", settings, tmp_path) as worker:
        deployment.aws.client("s3").put_object(
            Bucket=bucket, Key="input/payments.csv", Body=b"currency,amount\nEUR,1\n"
        )
        eventually(lambda: "succeeded" in worker.log.read_text())
    event = {
        "version": "2.0", "rawPath": "/health", "rawQueryString": "", "headers": {"host": "x"},
        "requestContext": {"http": {"method": "GET", "path": "/health", "sourceIp": "192.0.2.1"}},
        "isBase64Encoded": False,
    }  # fmt: skip
    answer = deployment.aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read())["statusCode"] == 200


def piped(aws, source, function):
    """Do what a pipe does with one message: the stand-in creates pipes from SQS, and runs none."""
    sqs, url = aws.client("sqs"), aws.url_of(source)
    [message] = eventually(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, AttributeNames=["All"]).get("Messages")
    )
    event = [record(message, aws.attributes(source)["QueueArn"])]
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
    [found] = json.loads(answer["Payload"].read())
    return found


def test_the_claim_check_around_a_bus(deployment, tmp_path):
    """Of a large event only the claim is on the bus of the stack, and the second function has all of it."""
    deployment.make("deploy-core")
    code = code_of(tmp_path / "code.zip", "pipe_enrichment")
    deployment.make("deploy-events", CODE=code, PARAMETERS="Module=deployed_pipe_enrichment")
    aws, made = deployment.aws, deployment.resources("events")
    order = {"kind": "order", "lines": ["x" * 80] * 2_500}
    aws.client("sqs").send_message(QueueUrl=made["Write"], MessageBody=json.dumps(order))

    claim = piped(aws, f"{deployment.id}-write", made["Split"])
    assert len(json.dumps(claim)) < 1_000
    entry = {"Source": "claimcheck", "DetailType": "claim", "Detail": json.dumps(claim)}
    answer = aws.client("events").put_events(Entries=[entry | {"EventBusName": made["Bus"]}])
    assert answer["FailedEntryCount"] == 0
    event = piped(aws, f"{deployment.id}-processor", made["Retrieve"])
    assert event["detail"] == order
    machine = aws.client("stepfunctions").describe_state_machine(stateMachineArn=made["Machine"])
    assert machine["status"] == "ACTIVE"
    pipes = {each["Name"] for each in aws.client("pipes").list_pipes()["Pipes"]}
    assert pipes >= {f"claimcheck-split-{deployment.id}", f"claimcheck-retrieve-{deployment.id}"}


def test_a_topic_fans_out(deployment):
    """Queues of the stack get what their filters say, and the FIFO queue keeps the order."""
    deployment.make("deploy-core")
    deployment.make("deploy-fanout")
    aws, made = deployment.aws, deployment.resources("fanout")
    for event, value in (("ORDER_CREATED", 5), ("ORDER_CREATED", 5_000), ("ORDER_PAID", 5)):
        attributes = {
            "eventType": {"DataType": "String", "StringValue": event},
            "orderValue": {"DataType": "Number", "StringValue": str(value)},
        }
        aws.client("sns").publish(TopicArn=made["Topic"], Message=event, MessageAttributes=attributes)
    for number in range(3):
        aws.client("sns").publish(TopicArn=made["Ordered"], Message=str(number), MessageGroupId="a")

    for name, count in (("Orders", 2), ("Large", 1), ("All", 3)):
        eventually(lambda name=name, count=count: aws.depth(made[name]).waiting == count)
    answer = aws.client("sqs").receive_message(QueueUrl=made["OrderedQueue"], MaxNumberOfMessages=10)
    assert [message["Body"] for message in answer["Messages"]] == ["0", "1", "2"]
