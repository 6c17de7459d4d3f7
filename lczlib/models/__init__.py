"""Networks: the paper's two streams, Keras weights for them; `baselines`: what they are compared with."""

from lczlib.models.gcn import InstanceGCN
from lczlib.models.keras_weights import load_keras
from lczlib.models.resnet3d import ResNet3D11

__all__ = ["InstanceGCN", "ResNet3D11", "load_keras"]
