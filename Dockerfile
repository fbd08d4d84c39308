# Two images from one file:
#   make images                                   both; ACCELERATOR=cpu for workers without NVIDIA cards
#   docker build --target api -t unfog-api .      HTTP, webhooks, keys; no torch
#   docker build --target worker -t unfog-worker .          the network, for NVIDIA cards;
#                                                           --build-arg ACCELERATOR=cpu for those without
#
# Packages come from hash-locked files (`make lock`). Pin the base with --build-arg PYTHON_IMAGE=...@sha256:...
# PIP_INDEX_URL and PIP_EXTRA_INDEX_URL are build arguments too: an index that has torch for CPUs alone (2.13.0+cpu)
# makes the CPU image gigabytes smaller.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
# The uid is fixed, so that volumes keep their owner over releases. HOME is where caches may be written.
RUN groupadd --gid 10001 unfog \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin unfog
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UNFOG_HOST=0.0.0.0 \
    UNFOG_LOG_FORMAT=json
WORKDIR /srv/unfog

# The command `unfog` and the version, in an environment that points at /srv/unfog.
FROM ${PYTHON_IMAGE} AS project
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /srv/unfog
RUN python -m venv --without-pip /opt/build && python -m venv --without-pip /opt/venv
COPY requirements/build.txt /tmp/requirements.txt
RUN pip --python /opt/build/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY unfog/__init__.py unfog/
RUN /opt/build/bin/python -m hatchling build -t wheel:editable -d /tmp/dist \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-index --no-deps /tmp/dist/*.whl

FROM ${PYTHON_IMAGE} AS api-packages
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY requirements/api.txt /tmp/requirements.txt
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=project /opt/venv /opt/venv
COPY pyproject.toml LICENSE NOTICE ./
COPY unfog unfog
COPY jobs jobs
COPY app app
COPY dispatch dispatch
COPY service service
RUN python -m compileall -q .
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Unfog" \
      org.opencontainers.image.description="Diffusion models as a job service: the API, without torch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('UNFOG_PORT', '8000') + '/health/live', timeout=4)"]
CMD ["python", "-m", "app"]

FROM ${PYTHON_IMAGE} AS worker-packages
ARG ACCELERATOR=cuda
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY requirements/worker-*.txt /tmp/
# The build of torch for NVIDIA cards computes on CPUs too, so it serves where no smaller one is to be had.
RUN python -m venv --without-pip /opt/venv \
 && install() { pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r "$1"; } \
 && if [ "$ACCELERATOR" = cpu ] && ! install /tmp/worker-cpu.txt; then \
        echo "No torch for CPUs alone within reach: taking the build for NVIDIA cards, gigabytes larger." >&2; \
        install /tmp/worker-cuda.txt; \
    elif [ "$ACCELERATOR" != cpu ]; then \
        install "/tmp/worker-$ACCELERATOR.txt"; \
    fi

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
COPY --from=project /opt/venv /opt/venv
COPY pyproject.toml LICENSE NOTICE ./
COPY unfog unfog
COPY jobs jobs
COPY models models
COPY worker worker
COPY service service
RUN python -m compileall -q .
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Unfog worker" \
      org.opencontainers.image.description="Diffusion models as a job service: the worker, with torch and the bundled model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
# An engine may take 300 s to load and check itself (UNFOG_ENGINE_START_S).
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s CMD ["python", "-m", "worker.alive"]
CMD ["python", "-m", "worker"]
