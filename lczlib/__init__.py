"""lczlib: the runnable companion to DF4LCZ, Local Climate Zones from Sentinel-2 and high-resolution RGB.

zones        the 17 Local Climate Zones and every conversion of their codes
data         pairs of patches on disk: read, write, check, pack, split, fetch
sam          Segment Anything: models, automatic masks for batches of images, mask store
graphs       instance masks -> node features and graphs
models       3D ResNet11, the instance GCN, Keras weights, trained runs as functions; baselines
training     one loop for both streams; recipe: its settings, the paper's and the demo's
predictions  probabilities of pairs, where the streams meet; fusion, metrics, transfer
runs         artefacts on disk: atomic writes, locks, named runs; compute: parallel work, threads, device
city         one's own city: pairs from GeoTIFFs and polygons, maps, comparisons
figures      what the notebooks draw

The names below are imported when they are first used: `from lczlib import open_pairs, fuse`.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "ZONES": "zones",
    "open_pairs": "data",
    "load_sam": "sam",
    "generate_masks": "sam",
    "node_features": "graphs",
    "ResNet3D11": "models",
    "InstanceGCN": "models",
    "load_keras": "models",
    "load_stream": "models",
    "fuse": "fusion",
    "scores": "metrics",
    "map_scene": "city",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lczlib' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lczlib.{_HOME[name]}"), name)
