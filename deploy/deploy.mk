# The stacks of deploy/, by the AWS CLI. deploy/README.md explains them; the Makefile includes this file.

.PHONY: deploy-core env task

ID := demo
STACK = claimcheck-$(ID)-core
PARAMETERS :=
QUEUES = $(shell $(PYTHON) -c 'import settings; print(*settings.QUEUES, sep=",")')
AWS := .venv/bin/aws
OUTPUT = $(AWS) cloudformation describe-stacks --stack-name $(1) --query "Stacks[0].Outputs[?OutputKey=='$(2)'].OutputValue" --output text
# Parameters that a template has not are left out by the AWS CLI.
DEPLOY = $(AWS) cloudformation deploy --stack-name claimcheck-$(ID)-$(1) --template-file $(2) \
    --capabilities CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset \
    --parameter-overrides DeploymentId=$(ID) QueueNames=$(QUEUES) $(PARAMETERS)

deploy-core: $(READY) ## Create or update bucket, queues, topics and roles in AWS: make deploy-core ID=demo
	$(call DEPLOY,core,deploy/core.yaml)
	$(call DEPLOY,roles,deploy/roles.yaml)

env: $(READY) ## Print the settings of a stack: make env STACK=claimcheck-demo-core
	@$(call OUTPUT,$(STACK),Environment)

task: $(READY) ## Send one task with a large argument to a deployment, and print its result: make task ID=demo
	@environment=$$($(call OUTPUT,$(STACK),Environment)) && env $$environment $(PYTHON) -m tasks.demo.one_task
