"""`python -m lczlib.reproduce` is `./run_all.sh`: the name that scripts of the first version call."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    runpy.run_module("workflow", run_name="__main__")
