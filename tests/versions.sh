#!/usr/bin/env bash
# The tests (without notebooks and browsers) with other versions of the packages that matter most, in an environment of
# its own: tests/versions.sh oldest|newest [arguments of pytest]. PYTHON names the interpreter, python3 by default.
#   oldest  each at the lower bound that pyproject.toml gives it
#   newest  the newest release of everything that the bounds admit, the lock left aside
set -euo pipefail
cd "$(dirname "$0")/.."
packages='numpy torch-geometric rasterio scikit-learn pandas'
which=${1:?oldest or newest}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
python=$folder/venv/bin/python
for name in $packages; do
    bound=$(grep -oE "\"$name>=[^\",]+" pyproject.toml | sed 's/.*>=//')
    [[ $which == oldest ]] && echo "$name==$bound" || echo "$name>=$bound"
done > "$folder/bounds.txt"
cat "$folder/bounds.txt"
grep -o '^torch==[^ ]*' requirements.txt >> "$folder/bounds.txt"
"$python" -m pip install --quiet "$(grep -o '^torch==[^ ]*' requirements.txt)" # by itself: see requirements.txt
"$python" -m pip install --quiet --upgrade --upgrade-strategy eager -c "$folder/bounds.txt" "setuptools>=70" \
    -e '.[notebooks,html,mobile,test]'
"$python" -m pip check
"$python" -m pip list --format=freeze | grep -iE "^($(tr ' _' '|-' <<< "$packages")|torch)=="
# two tests hold for the versions of the lock only: that they are installed, and their third decimals
PATH=$folder/venv/bin:$PATH VIRTUAL_ENV=$folder/venv "$python" -m pytest -q -m "not notebooks" \
    --deselect tests/test_environment.py::test_what_runs_is_what_is_locked \
    --deselect tests/workflow/test_results.py::test_the_shipped_streams_answer_as_the_committed_run_did "${@:2}"
