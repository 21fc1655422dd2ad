# The stacks of deploy/, by the AWS CLI. deploy/README.md explains them; the Makefile includes this file.

.PHONY: deploy-core deploy-workers deploy-lambda deploy-gateway deploy-events deploy-fanout image env task

ID := demo
STACK = claimcheck-$(ID)-core
PARAMETERS :=
# A stand-in for AWS cannot create all that is in a template.
TEMPLATES := $(if $(AWS_ENDPOINT_URL),.local/stand-in/$(ID),deploy)
QUEUES = $(shell $(PYTHON) -c 'import settings; print(*settings.QUEUES, sep=",")')
AWS := .venv/bin/aws
OUTPUT = $(AWS) cloudformation describe-stacks --stack-name $(1) --query "Stacks[0].Outputs[?OutputKey=='$(2)'].OutputValue" --output text
# Parameters that a template has not are left out by the AWS CLI.
DEPLOY = $(AWS) cloudformation deploy --stack-name claimcheck-$(ID)-$(1) --template-file $(TEMPLATES)/$(1).yaml \
    --capabilities CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset \
    --parameter-overrides DeploymentId=$(ID) QueueNames=$(QUEUES) $(PARAMETERS)

deploy-core: $(READY) $(addprefix $(TEMPLATES)/,core.yaml roles.yaml monitoring.yaml) ## Create or update bucket, queues, roles, dashboard and alarms in AWS: make deploy-core ID=demo
	$(call DEPLOY,core)
	$(call DEPLOY,roles)
	$(call DEPLOY,monitoring)

# A dashboard has a text for each queue, so its template is written for the queues of settings.py.
deploy/monitoring.yaml: settings.py pipeline/metrics/table.py $(wildcard deploy/monitoring/*.py) | $(READY)
	$(PYTHON) -m deploy.monitoring $(QUEUES) > $@.new
	mv $@.new $@

.PHONY: parameters
.local/stand-in/$(ID)/%.yaml: deploy/%.yaml parameters
	@mkdir -p $(@D)
	@$(PYTHON) -m deploy.stand_in $< $(PARAMETERS) > $@
	@echo "$@: $< without what no stand-in for AWS creates"

IMAGE = $(REPOSITORY):$(shell git describe --always)
REPOSITORY = $(shell $(AWS) ecr describe-repositories --repository-names claimcheck --query 'repositories[0].repositoryUri' --output text)
SUBNETS = $(shell $(AWS) ec2 describe-subnets --filters Name=default-for-az,Values=true --query "join(',', Subnets[].SubnetId)" --output text)

ifeq ($(origin IMAGE),file)
deploy-workers: image
endif
deploy-workers: $(READY) $(TEMPLATES)/workers.yaml ## Create or update the workers on ECS Fargate, with an image of yours or a new one: IMAGE=…
	$(call DEPLOY,workers) Image=$(IMAGE) SubnetIds=$(SUBNETS)

image: $(READY) # Build the image, and push it to a repository of this account.
	$(AWS) ecr describe-repositories --repository-names claimcheck >/dev/null 2>&1 || \
	    $(AWS) ecr create-repository --repository-name claimcheck --image-scanning-configuration scanOnPush=true
	docker build --build-arg FOR=app --tag $(IMAGE) .
	$(AWS) ecr get-login-password | docker login --username AWS --password-stdin $(REPOSITORY)
	docker push $(IMAGE)

CODE := .local/lambda.zip
BUCKET = $(shell $(call OUTPUT,$(STACK),Bucket))
KEY = code/$(shell sha256sum $(CODE) | cut -c1-32).zip
RUNTIME := $(shell python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

deploy-lambda: ## Create or update the tasks in AWS Lambda
deploy-gateway: ## Create or update the uploads by presigned URLs
deploy-events: ## Create or update the event bus with its pipes
deploy-lambda deploy-gateway deploy-events: deploy-%: $(READY) $(TEMPLATES)/%.yaml $(CODE)
	$(AWS) s3 cp --only-show-errors $(CODE) s3://$(BUCKET)/$(KEY)
	$(call DEPLOY,$*) CodeBucket=$(BUCKET) CodeKey=$(KEY) Runtime=$(RUNTIME)

deploy-fanout: $(READY) $(TEMPLATES)/fanout.yaml ## Create or update a topic with filters, and one that keeps the order
	$(call DEPLOY,fanout)

# What Lambda runs: this repository and its dependencies, for Amazon Linux on x86-64.
.local/lambda.zip: pyproject.toml settings.py $(shell find pipeline tasks examples -name '*.py')
	rm -rf .local/lambda && mkdir -p .local/lambda
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir .local/lambda/wheels .
	$(PYTHON) -m pip install --quiet --target .local/lambda/code --only-binary=:all: \
	    --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --python-version $(RUNTIME:python%=%) \
	    "$$(ls .local/lambda/wheels/*.whl)[app,gateway]" mangum
	cp -r settings.py tasks examples/gateway_lambda.py examples/pipe_enrichment.py .local/lambda/code
	cd .local/lambda/code && $(CURDIR)/$(PYTHON) -m zipfile -c ../../lambda.zip *

env: $(READY) ## Print the settings of a stack: make env STACK=claimcheck-demo-core
	@$(call OUTPUT,$(STACK),Environment)

task: $(READY) ## Send one task with a large argument to a deployment, and print its result: make task ID=demo
	@environment=$$($(call OUTPUT,$(STACK),Environment)) && env $$environment $(PYTHON) -m tasks.demo.one_task
