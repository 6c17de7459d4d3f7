"""One map in a process of its own, for mapping.py: `python map_once.py OPTIONS`, with the packages of any checkout."""

import json
import resource
import sys
import time
from pathlib import Path


def main(options: dict) -> None:
    """Map once; print processor seconds, peak memory in MB of this process, and the path of the map."""
    folder, scene, rgb = Path(options["folder"]), Path(options["s2"]), options.get("rgb")
    try:
        from lczlib.city.map import map_scene, open_streams

        streams = open_streams(options["runs"], True, bool(rgb), precision=options["kind"])
    except ImportError:  # fa94773
        from lczlib.mapping import map_scene
        from lczlib.mapping_streams import open_streams

        streams = open_streams(options["runs"], True, bool(rgb))[0]
    networks = {"predict_s2": streams[0], "predict_ge": streams[1]}
    step, warm = options.get("step", 100.0), folder / "warm-map.tif"
    map_scene(warm, folder / "warm.tif", rgb and folder / "warm_rgb.tif", **networks, step=2 * step)  # imports
    out, start = folder / f"map-{options['kind']}.tif", time.process_time()
    map_scene(out, scene, rgb, **networks, step=step)
    spent, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_seconds": spent, "peak_mb": peak, "map": str(out)}))


main(json.loads(sys.argv[1]))
