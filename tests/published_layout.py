"""A generated copy of the published repository's layout: `python tests/published_layout.py OUT [PAIRS]`.

Names, shapes and types as published (docs/paper.md, "Data set"), the contents drawn at random around a mean of each
zone. The pickled adjacency leaves a mark when somebody executes it.
"""

from __future__ import annotations

import pickle
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from torch.nn.functional import cross_entropy

from lczlib.graphs import GraphSet
from lczlib.models import InstanceGCN
from lczlib.models.inference import arguments, predict
from lczlib.training import Nadam

WEIGHTS = "model_weights/gcn_20240507-093556.hdf5"
KERAS = Path(__file__).parent / "data" / "keras_gcn.hdf5"  # names and groups as Keras writes them
PAIRS_OF_A_POLYGON, POLYGONS_OF_A_ZONE = 2, 10  # at least, so that few pairs have few zones


class Executed(csr_matrix):
    """A sparse matrix whose pickle, once executed, touches the file `mark`."""

    def __reduce__(self) -> tuple:
        return exec, (f"import pathlib; pathlib.Path({str(self.mark)!r}).touch()",), (self.data, self.indices)


def make_published(folder: Path, pairs: int, mark: Path, rgb: bool = False) -> np.ndarray:
    """Write the layout; returns the probabilities (pairs, 17) that the weights give, computed from what was drawn.

    Args:
        mark: file that is there once a pickled adjacency was executed. rgb: with `google_img_320`, kept apart there.
    """
    rng = np.random.default_rng(0)
    polygons = np.arange(pairs) // PAIRS_OF_A_POLYGON
    zones = int(np.clip(len(np.unique(polygons)) // POLYGONS_OF_A_ZONE, 2, 17))
    labels = np.linspace(1, 17, zones).round().astype(np.int64)[polygons % zones]
    spectra, colours = rng.uniform(0.05, 0.4, (17, 10)), rng.uniform(0.2, 0.8, (17, 3))
    spectra[16], spectra[10, [2, 6]] = np.linspace(0.1, 0.01, 10), (0.05, 0.4)  # water, trees
    graphs = GraphSet(np.arange(pairs), np.zeros((pairs, 50, 5), np.float32), np.zeros(pairs, np.int64))
    for name in ("sen2_img_patches", "gg_nodes_refine", "patches_split", "model_weights", "google_img_320")[: 4 + rgb]:
        (folder / name).mkdir(parents=True)
    for i, zone in enumerate(labels - 1):
        image = spectra[zone] + rng.normal(0, 0.01, (32, 32, 10)) + rng.normal(0, 0.02, 10)
        np.savez(folder / "sen2_img_patches" / f"sen2_image_{i}.npz", image=image, label=labels[i])
        x = rng.random((int(rng.integers(1, 51)), 5))
        x[:, :3] = np.clip(colours[zone] + rng.normal(0, 0.15, 3) + rng.normal(0, 0.1, (len(x), 3)), 0, 1)
        graphs.x[i, : len(x)], graphs.nodes[i] = x, len(x)
        _write_graph(folder / "gg_nodes_refine" / f"graph_{i}.npz", x, zone, mark)
        if rgb:
            patch = (255 * x[rng.integers(0, len(x), (8, 8)), :3]).astype(np.uint8).repeat(40, 0).repeat(40, 1)
            np.savez(folder / "google_img_320" / f"gg_image_{i}.npz", image=patch, label=labels[i])
    of_zone = polygons // zones  # every zone is in every part
    parts = {"random": rng.permutation(pairs) / pairs, "polygons_1125": (of_zone + 0.5) / (of_zone.max() + 1)}
    for name, place in parts.items():
        split = {"train": place < 0.7, "validation": (place >= 0.7) & (place < 0.8), "test": place >= 0.8}
        path = folder / "patches_split" / f"partition_{name}.npz"
        path.write_bytes(pickle.dumps({part: np.flatnonzero(rows) for part, rows in split.items()}))
    model = _trained(graphs, labels, np.flatnonzero(parts["random"] < 0.7)[:2000])
    _write_weights(folder / WEIGHTS, model)
    return predict(model, graphs)


def _write_graph(path: Path, x: np.ndarray, zone: int, mark: Path) -> None:
    a = np.linalg.norm(x[:, None, 3:] - x[None, :, 3:], axis=-1)
    e = Executed(a)
    e.mark = mark
    held = np.empty((), dtype=object)
    held[()] = e
    np.savez(path, x=x, a=a, e=held, y=np.eye(17)[zone])


def _trained(graphs: GraphSet, labels: np.ndarray, rows: np.ndarray) -> InstanceGCN:
    torch.manual_seed(0)
    model = InstanceGCN()
    optimizer, target = Nadam(model, 0.01), torch.from_numpy(labels - 1)
    for _ in range(40):
        for batch in np.array_split(rows, max(1, len(rows) // 64)):
            optimizer.zero_grad()
            cross_entropy(model(*arguments(graphs[batch], "cpu")), target[batch]).backward()
            optimizer.step()
    return model.eval()


def _write_weights(path: Path, model: InstanceGCN) -> None:
    shutil.copy(KERAS, path)
    layers = [{"kernel_1": layer.lin_rel.weight.T, "kernel_2": layer.lin_root.weight.T, "bias": layer.lin_rel.bias}
              for layer in model.layers] + [{"kernel": model.head.weight.T, "bias": model.head.bias}]  # fmt: skip
    with h5py.File(path, "r+") as file:
        root = file.get("model_weights", file)
        held = [root[name] for name in root.attrs["layer_names"] if len(root[name].attrs["weight_names"])]
        for group, ours in zip(held, layers, strict=True):
            for name in group.attrs["weight_names"]:
                text = name.decode() if isinstance(name, bytes) else name
                group[text][...] = ours[text.split("/")[-1].split(":")[0]].detach().numpy()


def used_up(folder: Path) -> pd.Series:
    """Bytes in each folder of the copy."""
    return pd.Series({p.name: sum(f.stat().st_size for f in p.iterdir()) for p in folder.iterdir() if p.is_dir()})


if __name__ == "__main__":
    out = Path(sys.argv[1])
    make_published(out, int(sys.argv[2]) if len(sys.argv) > 2 else 19088, out / "EXECUTED")
    print(used_up(out) / 1e6, "MB", sep="\n")
