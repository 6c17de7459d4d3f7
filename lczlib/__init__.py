"""lczlib: the runnable companion to DF4LCZ, Local Climate Zones from Sentinel-2 and high-resolution RGB.

zones        the 17 Local Climate Zones and every conversion of their codes
data         pairs of patches on disk: read, write, check, pack, split, fetch, cut from GeoTIFFs
synthetic    a world with known truth, the embedded default
sam          Segment Anything: models, automatic masks for batches of images, mask store
graphs       instance masks -> node features and graphs
models       3D ResNet11, the instance GCN, baselines, Keras weights
training     one loop for both streams
fusion       combining the streams; metrics, transfer: judging them
mapping      LCZ maps of one's own city
figures      every figure of the notebooks
"""

__version__ = "0.1.0"
