"""Read Keras HDF5 weights (as `save_weights` of Keras 2.11 wrote them) into the networks of this package."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from lczlib.errors import InputError
from lczlib.models.gcn import InstanceGCN
from lczlib.models.resnet3d import ResNet3D11


def load_keras(path: str | Path, model: ResNet3D11 | InstanceGCN) -> None:
    """Load a Keras HDF5 weight file into `model`, in place; either all weights are loaded or none.

    Layers are read in the order in which Keras lists them, each tensor by its name (kernel, bias, gamma, beta,
    moving_mean, moving_variance, kernel_1, kernel_2). At the end of a residual block the main path comes before the
    shortcut, as Keras orders `Add()([main, shortcut])`. The file is that of `save_weights` or of `save`.

    Raises InputError where it is not HDF5, damaged, or of another architecture; the model is left as it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the .hdf5 file that Keras's save_weights wrote")
    layers, own, kind = _read_layers(path), model.state_dict(), type(model).__name__
    slots = list(_slots(model))
    if len(layers) != len(slots):
        raise _other(path, f"{len(layers)} layers with weights, {kind} has {len(slots)}")
    state = {}
    for (layer, weights), slot in zip(layers.items(), slots, strict=True):
        if set(weights) != set(slot):
            raise _other(path, f"layer {layer} holds {sorted(weights)}, {kind} expects {sorted(slot)}")
        for name, (target, axes) in slot.items():
            array = weights[name]
            array = array.transpose(axes) if axes and array.ndim == len(axes) else array
            if array.shape != own[target].shape:
                raise _other(path, f"{layer}/{name} has shape {array.shape}, expected {tuple(own[target].shape)}")
            if not np.isfinite(array).all():
                raise InputError(f"{path}: {layer}/{name} holds values that are not finite; the file is damaged")
            state[target] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    model.load_state_dict(own | state)


def _other(path: Path, fault: str) -> InputError:
    return InputError(f"{path}: {fault}; wrong architecture")


def _read_layers(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """{name: {"kernel": array, ...}} of the layers with weights, in Keras's order; "gcn/kernel_1:0" is "kernel_1"."""

    def names(group: h5py.Group, attribute: str) -> list[str]:
        return [name.decode() if isinstance(name, bytes) else name for name in group.attrs[attribute]]

    def short(name: str) -> str:
        return name.split("/")[-1].split(":")[0]

    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            found = {n: {short(w): np.asarray(root[n][w]) for w in names(root[n], "weight_names")}
                     for n in names(root, "layer_names")}  # fmt: skip
    except (OSError, KeyError, RuntimeError) as fault:
        raise InputError(f"{path}: not a complete Keras weight file ({fault}); download it again") from None
    return {name: weights for name, weights in found.items() if weights}


Slot = dict[str, tuple[str, tuple[int, ...] | None]]  # Keras name -> (our name, axes to permute)


def _slots(model: ResNet3D11 | InstanceGCN) -> Iterator[Slot]:
    """In Keras's order, by depth: at the end of a block the two convolutions, then their two batch norms."""
    if isinstance(model, InstanceGCN):
        for k in range(len(model.layers)):
            yield {"kernel_1": (f"layers.{k}.lin_rel.weight", (1, 0)), "bias": (f"layers.{k}.lin_rel.bias", None),
                   "kernel_2": (f"layers.{k}.lin_root.weight", (1, 0))}  # fmt: skip
    else:
        yield from (_conv("stem"), _norm("stem"))
        for k in range(len(model.blocks)):
            reduce, spatial, expand, shortcut = (f"blocks.{k}.{n}" for n in ("reduce", "spatial", "expand", "shortcut"))
            yield from (_conv(reduce), _norm(reduce), _conv(spatial), _norm(spatial))
            yield from (_conv(expand), _conv(shortcut), _norm(expand), _norm(shortcut))
    yield {"kernel": ("head.weight", (1, 0)), "bias": ("head.bias", None)}


def _conv(layer: str) -> Slot:
    return {"kernel": (layer + ".0.weight", (4, 3, 0, 1, 2)), "bias": (layer + ".0.bias", None)}


def _norm(layer: str) -> Slot:
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {keras: (f"{layer}.1.{ours}", None) for keras, ours in names.items()}
