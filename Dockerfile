# Two images from one file:
#   docker build --target api    -t unfog-api .      HTTP, webhooks, keys; no torch
#   docker build --target worker -t unfog-worker .   the network; CUDA wheels, or --build-arg ACCELERATOR=cpu
#
# Packages come from hash-locked files; pin the base to a digest with --build-arg PYTHON_IMAGE=...@sha256:...

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Unfog" \
      org.opencontainers.image.description="Diffusion models as a job service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# The uid is fixed, so that volumes keep their owner over releases.
RUN groupadd --gid 10001 unfog && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin unfog
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/unfog \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UNFOG_LOG_FORMAT=json \
    UNFOG_HOST=0.0.0.0
WORKDIR /srv/unfog
USER 10001:10001

FROM ${PYTHON_IMAGE} AS api-packages
COPY requirements/api.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt \
 && /opt/venv/bin/pip uninstall --yes pip setuptools

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY unfog unfog
COPY jobs jobs
COPY app app
COPY dispatch dispatch
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["python", "-m", "app"]

FROM ${PYTHON_IMAGE} AS worker-packages
ARG ACCELERATOR=cuda
COPY requirements/worker-${ACCELERATOR}.txt /tmp/requirements.txt
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt \
 && /opt/venv/bin/pip uninstall --yes pip setuptools

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY unfog unfog
COPY jobs jobs
COPY models models
COPY worker worker
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-m", "worker.alive"]
CMD ["python", "-m", "worker"]
