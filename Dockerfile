# One image for the sidecar, the standalone deployment and the commands.
# BASE: any image with Python 3.11 or newer as python3, with venv and ensurepip.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
# A private index is given as a secret and leaves no trace: --secret id=pip,src=/etc/pip.conf
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/build && \
    /opt/build/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt && \
    python3 -m venv --without-pip /opt/riverbridge && \
    /opt/build/bin/python -m pip --python /opt/riverbridge/bin/python install --no-cache-dir \
        --only-binary :all: --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY riverbridge riverbridge
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist && \
    /opt/build/bin/python -m pip --python /opt/riverbridge/bin/python install --no-cache-dir \
        --no-index --no-deps /dist/*.whl

FROM ${BASE}
# The entry in passwd is for what looks up the user's name; the number is for runAsNonRoot.
RUN useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin riverbridge
COPY --from=build /opt/riverbridge /opt/riverbridge
ENV PATH=/opt/riverbridge/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# riverbridge.toml is read from here, if one is mounted.
WORKDIR /etc/riverbridge
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python3", "-c", "import http.client, os, sys; e = os.environ.get; c = http.client.HTTPConnection('127.0.0.1', int(e('RIVERBRIDGE_PROBES__PORT') or e('RIVERBRIDGE_HTTP__PORT') or 8080), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["riverbridge"]
CMD ["run"]
