"""Every figure from the notebooks. `./run_all.sh` calls it; by hand, and on a cluster with one of Snakemake's executors:

    snakemake --cores 2 --config profile=smoke
    snakemake --executor slurm --jobs 10 --config profile=paper data=/path/to/LCZC-GES2 sam=vit_h

A notebook runs again when its `state` has changed: its source, its parameters, the packages' sources, the data, or a
notebook that it builds on. Options: profile, data, sam, seed, seeds, without ("00,demo"), only (one notebook, after
those that it builds on).
"""

import json
import os
import shlex
import sys

sys.path.insert(0, workflow.basedir)
from workflow.build import Build

ROOT = workflow.basedir
OPTIONS = ("profile", "data", "sam", "seed", "seeds", "without")
BUILD = Build.of(**{name: config[name] for name in OPTIONS if name in config})
ONLY = str(config.get("only", ""))  # only=04 comes as the number 4
CHOSEN = BUILD.chosen(ONLY.zfill(2) if ONLY.isdigit() else ONLY)
ROWS = [f"executed/{name}.json" for name in CHOSEN]
EXPLORER = ["explorer.html"] if {"01", "02", "03"} <= set(CHOSEN) else []
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
THREADS = os.environ.get("OMP_NUM_THREADS")  # a rule's shell would set it to 1, and other threads round otherwise
KEEP = f"export OMP_NUM_THREADS={THREADS};" if THREADS else "unset OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS;"


workdir: str(BUILD.folder)


rule all:
    input:
        "site/index.html",


rule notebook:
    input:
        source=lambda found: BUILD.source(found.name),
        before=lambda found: [f"executed/{name}.json" for name in BUILD.before(found.name)],
    output:
        "executed/{name}.json",
    params:
        state=lambda found: BUILD.state(found.name),
        values=lambda found: json.dumps(BUILD.parameters(found.name)),
    shell:
        "{KEEP} exec {sys.executable} -m workflow.execute {input.source:q} {output:q} {params.values:q}"


rule explorer:
    input:
        "executed/02.json",
        "executed/03.json",
    output:
        "explorer.html",
    params:
        state=lambda found: [BUILD.state("02"), BUILD.state("03")],
        options=" ".join(f"--{name} {shlex.quote(str(value))}" for name, value in BUILD.explorer.items()),
    shell:
        "{KEEP} exec {sys.executable} -m workflow.explorer --work . --out {output:q} {params.options}"


rule site:
    input:
        ROWS,
        EXPLORER,
    output:
        "site/index.html",
    params:
        state=BUILD.report_state,
        skipped=json.dumps(BUILD.skipped),
    shell:
        "exec {sys.executable} -m workflow.site . {params.skipped:q}"
