"""How the figures are made: what `run_all.sh` and the `Snakefile` call. Nothing in `lczlib` knows of it."""
