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

import lazy_loader

__version__ = "0.1.0"

_HOME = {
    "zones": ["ZONES"],
    "data": ["open_pairs"],
    "sam": ["generate_masks", "load_sam"],
    "graphs": ["node_features"],
    "models": ["InstanceGCN", "ResNet3D11", "load_keras", "load_stream"],
    "fusion": ["fuse"],
    "metrics": ["scores"],
    "city": ["map_scene"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOME)
