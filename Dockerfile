# The migrator in an image: without a shell history, a compiler or root.
#   docker build -t openwhisk-activation-migrator:0.2.0 .
#   docker run --rm openwhisk-activation-migrator:0.2.0 --help
# Both stages are of one exact release, by its tag. A registry may move a tag: for a build that can be repeated, add the
# digest that yours gives for it, --build-arg PYTHON=3.13.9-slim-bookworm@sha256:…
ARG PYTHON=3.13.9-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY migrator migrator
COPY samples samples
COPY schedules schedules
RUN python -m venv --without-pip /opt/migrator \
    && python -m pip --python /opt/migrator/bin/python install --no-cache-dir --no-compile \
       --disable-pip-version-check --only-binary :all: --no-binary openwhisk-activation-migrator \
       --constraint samples/docker/constraints.txt '.[age,kubernetes,s3]'

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="openwhisk-activation-migrator" \
      org.opencontainers.image.description="Copy, back up, restore and verify Apache OpenWhisk activations" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/migrator /opt/migrator
RUN groupadd --gid 10001 migrator \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/migrator --shell /usr/sbin/nologin migrator \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/migrator /var/backups/openwhisk \
    && install -d /etc/migrator/schedules
ENV PATH=/opt/migrator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MIGRATOR_STATE=/var/lib/migrator
# Numbers, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /var/lib/migrator
VOLUME ["/var/lib/migrator", "/var/backups/openwhisk"]
# Only with --listen 0.0.0.0:9464.
EXPOSE 9464
ENTRYPOINT ["migrator"]
CMD ["--help"]
