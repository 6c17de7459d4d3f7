"""Read Keras HDF5 weights (as `save_weights` of Keras 2.11 wrote them) into the networks of this package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lczlib.errors import InputError
from lczlib.models.gcn import InstanceGCN
from lczlib.models.resnet3d import ResNet3D11

__all__ = ["load_keras"]


def load_keras(path: str | Path, model: ResNet3D11 | InstanceGCN) -> None:
    """Load a Keras HDF5 weight file into `model`, in place; either all weights are loaded or none.

    Layers are met in the order in which Keras lists them, each tensor by its name (kernel, bias, gamma, beta,
    moving_mean, moving_variance, kernel_1, kernel_2). At the end of a residual block the main path comes before the
    shortcut, as Keras orders `Add()([main, shortcut])`.

    Args:
        path: file of `save_weights("....hdf5")` or of `save("....h5")`.
        model: a `ResNet3D11` or an `InstanceGCN` of the file's architecture.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not HDF5, damaged, or weights of another architecture; the model is left as it was.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give the .hdf5 file that Keras's save_weights wrote")
    layers = _read_layers(path)
    slots = list(_resnet_slots(model) if isinstance(model, ResNet3D11) else _gcn_slots(model))
    _check_kinds(path, layers, slots, model)
    state = {}
    for (layer, weights), slot in zip(layers, slots, strict=True):
        for name, (target, axes) in slot.items():
            state[target] = _tensor(path, layer, name, weights[name], axes, model.state_dict()[target].shape)
    model.load_state_dict(model.state_dict() | state)


def _read_layers(path: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Layers that have weights, in Keras's order: (name, {short name: array})."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            names = [_text(n) for n in root.attrs["layer_names"]]
            return [(n, _read_group(root[n])) for n in names if len(root[n].attrs["weight_names"])]
    except (OSError, KeyError, RuntimeError) as fault:
        raise InputError(f"{path}: not a complete Keras weight file ({fault}); download it again") from None


def _read_group(group) -> dict[str, np.ndarray]:
    """{"kernel": array, ...} of one layer; "gcn/gcs_conv/kernel_1:0" becomes "kernel_1"."""
    names = [_text(n) for n in group.attrs["weight_names"]]
    return {n.split("/")[-1].split(":")[0]: np.asarray(group[n]) for n in names}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


Slot = dict[str, tuple[str, tuple[int, ...] | None]]  # Keras name -> (our name, axes to permute)


def _gcn_slots(model: InstanceGCN) -> Iterator[Slot]:
    for k in range(len(model.layers)):
        layer = f"layers.{k}."
        yield {
            "kernel_1": (layer + "lin_rel.weight", (1, 0)),
            "kernel_2": (layer + "lin_root.weight", (1, 0)),
            "bias": (layer + "lin_rel.bias", None),
        }
    yield {"kernel": ("head.weight", (1, 0)), "bias": ("head.bias", None)}


def _resnet_slots(model: ResNet3D11) -> Iterator[Slot]:
    """Keras's order is by depth: at the end of a block the two convolutions, then their two batch norms."""
    yield from (_conv("stem"), _norm("stem"))
    for k in range(len(model.blocks)):
        block = f"blocks.{k}."
        for layer in ("reduce", "spatial"):
            yield from (_conv(block + layer), _norm(block + layer))
        yield from (_conv(block + "expand"), _conv(block + "shortcut"))
        yield from (_norm(block + "expand"), _norm(block + "shortcut"))
    yield {"kernel": ("head.weight", (1, 0)), "bias": ("head.bias", None)}


def _conv(layer: str) -> Slot:
    return {"kernel": (layer + ".0.weight", (4, 3, 0, 1, 2)), "bias": (layer + ".0.bias", None)}


def _norm(layer: str) -> Slot:
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    return {keras: (f"{layer}.1.{ours}", None) for keras, ours in names.items()}


def _check_kinds(path: Path, layers: list, slots: list[Slot], model: torch.nn.Module) -> None:
    kind = type(model).__name__
    if len(layers) != len(slots):
        raise InputError(f"{path}: {len(layers)} layers with weights, {kind} has {len(slots)}; wrong architecture")
    for (layer, weights), slot in zip(layers, slots, strict=True):
        if set(weights) != set(slot):
            found = f"layer {layer} holds {sorted(weights)}, {kind} expects {sorted(slot)}"
            raise InputError(f"{path}: {found}; wrong architecture")


def _tensor(path: Path, layer: str, name: str, array: np.ndarray, axes, shape: torch.Size) -> torch.Tensor:
    array = array.transpose(axes) if axes and array.ndim == len(axes) else array
    if array.shape != tuple(shape):
        raise InputError(f"{path}: {layer}/{name} has shape {array.shape}, expected {tuple(shape)}; wrong architecture")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {layer}/{name} holds values that are not finite; the file is damaged")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
