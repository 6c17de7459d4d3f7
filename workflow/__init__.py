"""How the figures are made: what `run_all.sh` and the `Snakefile` call. Nothing in `lczlib` knows of it."""

import sys

# jsonschema checks international web addresses with it where it is installed: no notebook has any, and it builds its
# grammar anew at every start, a second in each of the many processes of a run.
sys.modules.setdefault("rfc3987_syntax", None)
