#!/bin/sh
# Installs Flowkick (editable) and one of requirements/*.lock into .venv, every hash verified.
#
#   scripts/install.sh run    what it takes to run Flowkick
#   scripts/install.sh dev    that, and what tests and checks need
#
# It needs nothing but a Python of 3.11 or newer, and honours pip's own settings (PIP_…). A second
# run finds the same contents under the same path and does nothing.
set -eu
cd "$(dirname "$0")/.."

lock=requirements/$1.lock
stamp=.venv/installed-$1

say() { echo "flowkick: $*" >&2; }
fail() { say "$*"; exit 1; }

# What was installed: the lock, what the editable install is made of, and where it points to.
fingerprint() { { cat "$lock" pyproject.toml scripts/install.sh; pwd; } | cksum; }

# Version managers leave shims that exist and fail, so each candidate is run.
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

candidates() {
    [ -z "${PYTHON:-}" ] || command -v "$PYTHON" || true
    for name in python3.11 python3 python3.12 python3.13 python3.14 python; do
        echo "$PATH" | tr ':' '\n' | while read -r folder; do
            [ ! -x "$folder/$name" ] || echo "$folder/$name"
        done
    done
}

# Prints the first Python that is new enough; one that can also make environments comes first.
find_python() {
    fallback=
    for python in $(candidates); do
        is_new_enough "$python" || continue
        if has_venv "$python"; then echo "$python"; return; fi
        fallback=${fallback:-$python}
    done
    echo "$fallback"
}

# Debian ships ensurepip in a package of its own.
install_venv_module() {
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    hint="Python's venv module is missing: install it (Debian, Ubuntu: apt-get install $package)."
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "$hint"
    say "installing $package"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq "$package"; } >/dev/null || fail "$hint"
    has_venv "$1" || fail "$hint"
}

make_environment() {
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is needed and was not found: install it, or name it: make PYTHON=…"
    has_venv "$python" || install_venv_module "$python"
    say "making .venv with $("$python" -V) ($python)"
    "$python" -m venv --clear .venv
}

# Environments do not survive a move: the programs in them begin with the path they were made at.
was_made_here() { grep -qF " $(pwd -P)/.venv" .venv/pyvenv.cfg 2>/dev/null; }

want=$(fingerprint)
if was_made_here && is_new_enough .venv/bin/python; then
    [ "$(cat "$stamp" 2>/dev/null)" != "$want" ] || exit 0
else
    make_environment
fi

say "installing $lock into .venv"
# The lock is complete, so nothing is resolved (--no-deps); wheels alone, since what a source
# distribution would be built with has no hash in the lock.
.venv/bin/python -m pip install --quiet --require-hashes --no-deps --only-binary :all: -r "$lock"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
echo "$want" >"$stamp"
