"""Keras files that do not fit are named and leave the model as it was."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from lczlib.models import InstanceGCN, ResNet3D11, load_keras

DATA = Path(__file__).parent / "data"
GCN, RESNET = DATA / "keras_gcn.hdf5", DATA / "keras_resnet3d11_width4.hdf5"


def refused(path: Path, model: torch.nn.Module, match: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=match) as fault:
        load_keras(path, model)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_wrong_architecture_is_named():
    refused(GCN, ResNet3D11(width=4), "4 layers")
    refused(RESNET, InstanceGCN(), "27 layers")
    refused(RESNET, ResNet3D11(width=8), "shape")
    refused(GCN, InstanceGCN(hidden=16), "shape")


def test_same_number_of_layers_of_another_kind(tmp_path):
    path = tmp_path / "other.hdf5"
    path.write_bytes(GCN.read_bytes())
    with h5py.File(path, "r+") as file:
        name = file.attrs["layer_names"][-1]
        name = name.decode() if isinstance(name, bytes) else name
        group = file[name]
        group.attrs["weight_names"] = group.attrs["weight_names"][:1]
    refused(path, InstanceGCN(), "expects")


def test_damaged_files_are_named(tmp_path):
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(GCN.read_bytes()[:5000])
    refused(cut, InstanceGCN(), "download it again")
    text = tmp_path / "page.hdf5"
    text.write_text("<html>not found</html>")
    refused(text, InstanceGCN(), "download it again")
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = np.zeros(3)
    refused(tmp_path / "foreign.hdf5", InstanceGCN(), "not a complete Keras weight file")


def test_values_that_are_not_finite(tmp_path):
    path = tmp_path / "nan.hdf5"
    path.write_bytes(GCN.read_bytes())
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        file[names[-1]][...] = np.nan
    refused(path, InstanceGCN(), "not finite")


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_keras("nowhere.hdf5", InstanceGCN())


def test_file_of_a_whole_model(tmp_path):
    """`save(...)` puts the same layout into a group "model_weights"."""
    path = tmp_path / "whole.h5"
    with h5py.File(GCN) as weights, h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        for name in weights:
            weights.copy(name, group)
        for name, value in weights.attrs.items():
            group.attrs[name] = value
    one, other = InstanceGCN(), InstanceGCN()
    load_keras(GCN, one)
    load_keras(path, other)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
