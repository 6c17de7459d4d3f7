"""The paper's two networks in Keras and Spektral, rebuilt from the paper's facts: the reference of the exactness tests.

Not part of the package and not needed to use it. In an environment of its own (Python 3.11):

    pip install "tensorflow-cpu==2.15.*" spektral==1.3.1 h5py
    python benchmarks/keras_reference.py tests/data

writes the small fixtures that the tests compare with: weights as `save_weights` writes them, inputs and outputs.
`benchmarks/streams.py --keras-python PYTHON` times these networks beside ours.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from spektral.data import BatchLoader, Dataset, Graph
from spektral.layers import GCSConv, GlobalAvgPool
from tensorflow.keras import Input, Model, layers


def resnet3d11(width: int = 64, zones: int = 17) -> Model:
    """3D ResNet11 on (32, 32, 10, 1)."""

    def conv(x, filters, kernel, stride=1):
        return layers.Conv3D(filters, kernel, strides=stride, padding="same")(x)

    def norm(x):
        return layers.BatchNormalization()(x)

    patch = Input((32, 32, 10, 1))
    x = layers.ReLU()(norm(conv(patch, width, 3)))
    for filters, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
        y = layers.ReLU()(norm(conv(x, filters, 1, stride)))
        y = layers.ReLU()(norm(conv(y, filters, 3)))
        y = norm(conv(y, 4 * filters, 1))
        x = layers.ReLU()(layers.Add()([y, norm(conv(x, 4 * filters, 1, stride))]))
    x = layers.GlobalAveragePooling3D()(x)
    return Model(patch, layers.Dense(zones, activation="softmax")(x))


def instance_gcn(zones: int = 17) -> Model:
    """Three GCSConv of 32 units on (N, 5) and a normalised adjacency (N, N), batched (B, N, ...)."""
    x_in, a_in = Input((None, 5)), Input((None, None))
    x = x_in
    for _ in range(3):
        x = GCSConv(32, activation="relu")([x, a_in])
    return Model([x_in, a_in], layers.Dense(zones, activation="softmax")(GlobalAvgPool()(x)))


def normalised_adjacency(x: np.ndarray) -> np.ndarray:
    """D^-1/2 A D^-1/2 of the published graph: centres at a distance above 0 are joined. x (N, 5) -> (N, N)."""
    centres = x[:, 3:5].astype(np.float64)
    joined = (np.linalg.norm(centres[:, None] - centres[None], axis=-1) > 0).astype(np.float64)
    degree = joined.sum(1)
    r = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
    return joined * r[:, None] * r[None]


def randomise(model: Model, seed: int) -> None:
    """Weights away from their initial values, so that every bias and every statistic counts."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        noise = rng.normal(0, 0.1, weight.shape)
        noise = np.abs(noise) if "variance" in weight.name else noise
        weight.assign(weight + noise)


def write_resnet(folder: Path) -> None:
    tf.keras.utils.set_random_seed(0)
    model = resnet3d11(width=4)
    randomise(model, 0)
    x = np.random.default_rng(1).random((2, 32, 32, 10), dtype=np.float32)
    model.save_weights(folder / "keras_resnet3d11_width4.hdf5")
    np.savez_compressed(folder / "keras_resnet3d11_width4.npz", x=x.astype(np.float16),
                        p=model(x.astype(np.float16).astype(np.float32)[..., None], training=False))  # fmt: skip


def write_gcn(folder: Path) -> None:
    tf.keras.utils.set_random_seed(0)
    model = instance_gcn()
    randomise(model, 0)
    rng = np.random.default_rng(2)
    graphs = [rng.random((n, 5), dtype=np.float32) for n in (1, 2, 5, 17, 50, 12, 3)]
    graphs[5][[3, 7, 9], 3:5] = graphs[5][0, 3:5]  # four masks with one centre
    graphs[6][:, 3:5] = 0.5  # all of them: no edge at all
    p = [model([x[None], normalised_adjacency(x)[None].astype(np.float32)])[0] for x in graphs]
    model.save_weights(folder / "keras_gcn.hdf5")
    padded = np.stack([np.pad(x, ((0, 50 - len(x)), (0, 0))) for x in graphs])
    np.savez_compressed(folder / "keras_gcn.npz", x=padded, nodes=[len(x) for x in graphs], p=np.stack(p))


class Graphs(Dataset):
    """Random complete graphs of 50 nodes, as a Spektral dataset."""

    def __init__(self, count: int):
        self.count = count
        super().__init__()

    def read(self) -> list[Graph]:
        rng, zones = np.random.default_rng(0), np.eye(17, dtype=np.float32)
        x = rng.random((self.count, 50, 5), np.float32)
        return [Graph(x=g, a=normalised_adjacency(g).astype(np.float32), y=zones[k % 17]) for k, g in enumerate(x)]


def timings(width: int, batch: int, graphs: int) -> dict:
    """Functions that do one unit of work each: an S2 step and inference, a graph epoch and inference.

    Graphs go through Spektral's `BatchLoader`, the fastest of its loaders here, `fit` and `predict`; "bare" is the
    network alone, compiled, on batches that lie ready.
    """
    rng = np.random.default_rng(0)
    net, gcn, data = resnet3d11(width), instance_gcn(), Graphs(graphs)
    net.compile(tf.keras.optimizers.Nadam(0.002), "categorical_crossentropy")
    gcn.compile(tf.keras.optimizers.Nadam(0.01), "categorical_crossentropy")
    patches, zones = rng.random((batch, 32, 32, 10, 1), np.float32), np.eye(17, dtype=np.float32)
    infer, infer_graphs = tf.function(lambda p: net(p, training=False)), tf.function(lambda g: gcn(g, training=False))
    targets = zones[rng.integers(0, 17, batch)]
    ready = [
        (tf.constant(x), tf.constant(a)) for (x, a), _ in BatchLoader(data, batch_size=32, epochs=1, shuffle=False)
    ]

    def through_loader(work, shuffle: bool) -> None:
        loader = BatchLoader(data, batch_size=32, epochs=1, shuffle=shuffle)
        work(loader.load(), loader.steps_per_epoch)

    return {
        "s2_training": lambda: net.train_on_batch(patches, targets),
        "s2_inference": lambda: infer(tf.constant(patches)).numpy(),
        "graph_epoch": lambda: through_loader(lambda b, n: gcn.fit(b, steps_per_epoch=n, verbose=0), True),
        "graph_inference": lambda: through_loader(lambda b, n: gcn.predict(b, steps=n, verbose=0), False),
        "graph_inference_bare": lambda: [infer_graphs(b).numpy() for b in ready],
    }


def serve(width: int, batch: int, graphs: int, threads: int, clock: str) -> None:
    """Answer each name of a unit of work on standard input with its seconds."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    work = timings(width, batch, graphs)
    now = getattr(time, clock)
    print("ready", flush=True)
    for line in sys.stdin:
        start = now()
        work[line.strip()]()
        print(now() - start, flush=True)


if __name__ == "__main__" and sys.argv[1] == "--serve":
    serve(*map(int, sys.argv[2:6]), sys.argv[6])
elif __name__ == "__main__":
    target = Path(sys.argv[1])
    assert resnet3d11().count_params() == 3_548_049
    assert instance_gcn().count_params() == 5_073
    write_resnet(target)
    write_gcn(target)
