"""Networks: the paper's two streams, Keras weights for them, trained runs; `baselines`: what they are compared with."""

from lczlib.models.gcn import InstanceGCN
from lczlib.models.inference import RunStream, load_stream, load_streams
from lczlib.models.keras_weights import load_keras
from lczlib.models.resnet3d import ResNet3D11

__all__ = ["InstanceGCN", "ResNet3D11", "RunStream", "load_keras", "load_stream", "load_streams"]
