# Two images from one runtime:
#
#   docker build --target vectorflow_api -t vectorflow_api .
#   docker build --target vectorflow_worker -t vectorflow_worker .
#
# How to run them: docs/how-to/run-in-containers.md.
#
# The base is named by its version, so that a build takes its security fixes. Who needs the same image
# twice adds the digest of the day (python:3.13-slim@sha256:…) in both places.

FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1

# What changes seldom comes first: the libraries are one layer until requirements/ changes.
WORKDIR /build
COPY requirements/uv.txt requirements/
RUN pip install --require-hashes --requirement requirements/uv.txt \
    && uv venv --python /usr/local/bin/python3 /opt/vectorflow
ENV VIRTUAL_ENV=/opt/vectorflow
COPY requirements/runtime.txt requirements/
RUN uv pip install --require-hashes --requirement requirements/runtime.txt

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN uv pip install --no-deps --no-build-isolation .


FROM python:3.13-slim AS runtime

LABEL org.opencontainers.image.title="VectorFlow" \
    org.opencontainers.image.description="Any file into any vector database: nothing lost, nothing stale, paid once." \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0"

# The numbers are fixed, so that volumes can be given to them; the account owns nothing but /data.
RUN groupadd --gid 10001 vectorflow \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vectorflow \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data

COPY --from=build /opt/vectorflow /opt/vectorflow

ENV PATH=/opt/vectorflow/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VECTORFLOW_DATA_DIR=/data

# Nothing but /data and /tmp is written: the rest may be read-only. A vectorflow.toml is looked for here.
WORKDIR /etc/vectorflow
VOLUME ["/data"]
USER 10001:10001
STOPSIGNAL SIGTERM


FROM runtime AS vectorflow_api

COPY deploy/gunicorn.conf.py ./
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, http.client as h; c = h.HTTPConnection('127.0.0.1', int(os.environ.get('VECTORFLOW_API__PORT') or 8000), timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["vectorflow", "api", "--host", "0.0.0.0"]


# A worker answers no requests: that its process runs is all that can be asked of it.
FROM runtime AS vectorflow_worker

HEALTHCHECK NONE
CMD ["vectorflow", "worker"]
