"""Is our MobileSAM the reference's? `pip install mobilesam-mirror`, then `python benchmarks/sam_mobile.py OUT.json`.

The reference (mobile_sam) gets random weights in every parameter and statistic; its state dict goes through a file into
`load_sam("mobile")`. Compared are the embeddings of random images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from lczlib.runs import write_json
from lczlib.sam import load_sam
from lczlib.sam._torchvision_ops import import_torchvision


def reference() -> torch.nn.Module:
    """mobile_sam's model with random weights; its attention reads its biases when it is set to evaluate."""
    import_torchvision()
    from mobile_sam.build_sam import build_sam_vit_t

    sam = build_sam_vit_t()
    with torch.no_grad():
        for parameter in sam.parameters():
            if parameter.dim() < 2 or not parameter.any():
                parameter.normal_(0, 0.05)
        for name, buffer in sam.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    sam.train()
    return sam.eval()


def main() -> None:
    """Compare and write one JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    theirs, image = reference(), torch.randn(1, 3, 1024, 1024)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "mobile_sam.pt"
        torch.save(theirs.state_dict(), path)
        ours = load_sam("mobile", path)
        a, b = theirs.image_encoder(image), ours.image_encoder(image)
    numbers = {"largest_difference": (a - b).abs().max().item(), "largest_value": a.abs().max().item()}
    print(numbers)
    write_json(options.out, {"data": "random", "numbers": numbers})


if __name__ == "__main__":
    main()
