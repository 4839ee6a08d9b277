#!/bin/sh
# Writes requirements/*.lock: exact versions with hashes, for every platform and Python >= 3.11,
# and nowhere the address of an index, so that they install from whichever one pip is set to.
# Arguments go to uv: --upgrade for the newest versions, --upgrade-package NAME for one.
set -eu
cd "$(dirname "$0")/.."

compile() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --extra objectstore --extra parquet --extra postgres --extra tracing "$@" pyproject.toml
}

compile --group dev --output-file requirements/dev.lock "$@"
# The same versions again, so that one environment can serve both.
compile --group build --constraint requirements/dev.lock --output-file requirements/run.lock "$@"
