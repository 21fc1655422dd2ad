# syntax=docker/dockerfile:1
# One image for every process. For production, without stand-in and Flower: --build-arg EXTRAS=app
FROM python:3.12-slim-bookworm AS build
ARG EXTRAS=app,local,flower
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build

# Dependencies first, around an empty package: this layer is built again only when these files change.
COPY pyproject.toml hatch_build.py ./
RUN --mount=type=cache,target=/root/.cache/pip \
    mkdir pipeline && touch README.md pipeline/__init__.py && pip install ".[${EXTRAS}]"

COPY README.md celery_claimcheck_entry_point.py celery_claimcheck_pytest.py ./
COPY pipeline pipeline
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps --force-reinstall .

FROM python:3.12-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home app
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY settings.py ./
COPY tasks tasks
# As a number, so that Kubernetes can see that it is not root.
USER 10001
CMD ["celery", "-A", "tasks.app", "worker"]
