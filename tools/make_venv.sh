#!/usr/bin/env bash
# make_venv.sh FOLDER: a virtual environment with this package and its tools, at the versions of constraints.txt.
# PYTHON names the interpreter; without it the first of python3, python3.14 ... python3.10 that is new enough.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' 2>/dev/null; }

# The commands in an environment name its folder: one that was moved is made again.
if [ -f "$venv/installed-for" ] && [ "$(cat "$venv/installed-for")" != "$(pwd -P)" ]; then rm -rf "$venv"; fi

if ! { [ -x "$venv/bin/python" ] && fits "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    found=
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if fits "$python"; then found=$python; break; fi
    done
    if [ -z "$found" ]; then
        echo "affect_nbdev needs Python 3.10 or newer; found: $(python3 --version 2>&1 || true)." \
             "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2
        exit 1
    fi
    echo "making $venv with $("$found" --version)" >&2
    if ! "$found" -m venv --clear "$venv"; then
        echo "$found has no venv module: install it (on Debian and Ubuntu the package python3-venv)." >&2
        exit 1
    fi
fi
echo "installing; the first time this fetches PyTorch and takes a few minutes" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
