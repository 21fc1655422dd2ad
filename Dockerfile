# syntax=docker/dockerfile:1
# One image for every process. For production, without stand-in and Flower: --build-arg FOR=app
# What is installed is pinned, with hashes: `make lock` writes requirements/.
FROM python:3.12-slim-bookworm AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/build.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --only-binary=:all: -r requirements/build.txt
COPY pyproject.toml hatch_build.py README.md celery_claimcheck_entry_point.py celery_claimcheck_pytest.py ./
COPY pipeline pipeline
RUN hatchling build --target wheel

FROM python:3.12-slim-bookworm AS environment
ARG FOR=demo
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# Dependencies first: this layer is built again only when they change.
COPY requirements/${FOR}.txt requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --only-binary=:all: -r requirements/${FOR}.txt
COPY --from=wheel /build/dist dist
RUN pip install --no-deps dist/*.whl

FROM python:3.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --no-create-home app
WORKDIR /app
COPY --from=environment /opt/venv /opt/venv
COPY settings.py ./
COPY tasks tasks
# As a number, so that Kubernetes can see that it is not root.
USER 10001
CMD ["celery", "-A", "tasks.app", "worker"]
