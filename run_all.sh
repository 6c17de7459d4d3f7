#!/usr/bin/env bash
# Regenerates every figure into build/; `./run_all.sh --test` runs the tests instead, `./run_all.sh --help` lists the options.
# On a fresh machine with Python 3.11 it makes .venv from requirements.txt first; inside an active virtual or conda
# environment (other than conda's base) it uses that.
set -euo pipefail
cd "$(dirname "$0")"

if [[ -n "${VIRTUAL_ENV:-}" || (-n "${CONDA_PREFIX:-}" && "${CONDA_DEFAULT_ENV:-}" != base) ]]; then
    python=python
else
    python=.venv/bin/python
    lock=$(cksum requirements.txt pyproject.toml)
    if [[ ! -x $python || "$(cat .venv/lock 2>/dev/null)" != "$lock" ]]; then
        base=$(command -v python3.11 || command -v python3 || true)
        if [[ -z $base ]] || ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "error: Python 3.11 or newer not found; install it, or activate an environment made from environment.yml" >&2
            exit 1
        fi
        echo "setting up .venv (once) ..."
        "$base" -m venv .venv
        .venv/bin/pip install --quiet --disable-pip-version-check "$(grep -o '^torch==[^ ]*' requirements.txt)" # see there
        .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
        .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
        echo "$lock" > .venv/lock
    fi
fi

needed='lczlib torch papermill snakemake latex2mathml'
if ! "$python" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' $needed; then
    echo "error: the active environment lacks packages; run: $python -m pip install -r requirements.txt && $python -m pip install --no-deps -e ." >&2
    exit 1
fi
if [[ "${1:-}" == --test ]]; then
    exec "$python" -m pytest "${@:2}"
fi
exec "$python" -m workflow "$@"
