# syntax=docker/dockerfile:1
# One image, several commands: `medallion …`, `python -m services.ingestor`, `… services.silver`, `… services.gold`.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/medallion
COPY requirements-image.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/medallion/bin/python install --disable-pip-version-check --no-input --root-user-action=ignore \
        --no-compile --only-binary=:all: --require-hashes -r requirements-image.lock
COPY . ./
# The build tool comes from the lock too, and does not stay. Packages' own tests are a tenth of what is left.
RUN pip --python /opt/medallion/bin/python install --disable-pip-version-check --no-input --root-user-action=ignore \
        --no-compile --no-deps --no-build-isolation . \
    && pip --python /opt/medallion/bin/python uninstall --quiet --yes --root-user-action=ignore \
        hatchling pathspec pluggy trove-classifiers \
    && find /opt/medallion/lib -type d -name tests -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 /opt/medallion/lib

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/medallion --shell /usr/sbin/nologin medallion \
    && install --directory --owner medallion --group medallion --mode 0700 /var/lib/medallion
COPY --from=build /opt/medallion /opt/medallion
# The allocators give memory back (see services/stack/programs.py). Large temporary files go where the volume is.
ENV PATH=/opt/medallion/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    MALLOC_ARENA_MAX=2 \
    TMPDIR=/var/lib/medallion \
    MEDALLION_DATA_DIR=/var/lib/medallion \
    MEDALLION_LOG_FORMAT=json
WORKDIR /var/lib/medallion
USER 10001:10001
CMD ["medallion", "--help"]
