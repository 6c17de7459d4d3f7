"""lczlib.sam.models: checkpoints that load, and checkpoints that must not."""

import re

import numpy as np
import pytest
import torch

from lczlib.sam import load_sam, models


def test_nano_is_a_sam_that_the_predictor_accepts():
    from segment_anything import SamPredictor
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam

    sam = load_sam("nano")
    assert isinstance(sam, Sam)
    assert isinstance(sam.mask_decoder, MaskDecoder)
    assert isinstance(sam.prompt_encoder, PromptEncoder)
    assert not sam.training
    predictor = SamPredictor(sam)
    predictor.set_image(np.zeros((100, 80, 3), np.uint8))
    masks, scores, _ = predictor.predict(np.array([[40, 50]]), np.array([1]))
    assert masks.shape == (3, 100, 80)
    assert np.isfinite(scores).all()


def test_nano_is_small_and_loads_the_same_twice():
    assert models.NANO.stat().st_size < 8e6
    first, second = load_sam("nano").state_dict(), load_sam("nano").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("make", [load_sam, models.build_sam])
def test_unknown_name(make):
    with pytest.raises(ValueError, match="unknown; use one of nano, mobile, vit_b"):
        make("vit_x")


def test_missing_checkpoint_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "cache_dir", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m lczlib fetch sam-vit-b"):
        load_sam("vit_b")


@pytest.fixture
def tiny(monkeypatch):
    """build_sam with a ViT of 768 channels but one block and 64 px, so that vit_b files are small."""
    from segment_anything.modeling import ImageEncoderViT

    def build(name):
        sam = models.build_nano()
        width = models.CHECKPOINTS[name].width if name in models.CHECKPOINTS else 32
        sam.image_encoder = ImageEncoderViT(img_size=64, embed_dim=width, depth=1, num_heads=8, out_chans=64)
        return sam

    monkeypatch.setattr(models, "build_sam", build)
    return build


def test_a_vit_checkpoint_loads_from_a_path(tiny, tmp_path):
    torch.save(tiny("vit_b").state_dict(), tmp_path / "own.pth")
    sam = load_sam("vit_b", tmp_path / "own.pth")
    assert sam.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert sam.device.type == "cpu"


def test_wrong_variant_is_named(tiny, tmp_path):
    torch.save(tiny("vit_l").state_dict(), tmp_path / "own.pth")
    with pytest.raises(ValueError, match="a vit_l checkpoint, not vit_b"):
        load_sam("vit_b", tmp_path / "own.pth")


def test_wrong_size_truncated_and_foreign_files(tiny, tmp_path):
    official = tmp_path / models.CHECKPOINTS["vit_b"].file
    official.write_bytes(b"0" * 1000)
    with pytest.raises(ValueError, match=r"cannot be read as weights .*truncated .*fetch it again"):
        load_sam("vit_b", official)
    torch.save(tiny("vit_b").state_dict(), tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut.pth: cannot be read as weights .*truncated"):
        load_sam("vit_b", tmp_path / "cut.pth")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"weights do not fit"):
        load_sam("vit_b", tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="no table of weights"):
        load_sam("vit_b", tmp_path / "list.pth")


def test_weights_are_never_executed(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_sam("nano", tmp_path / "trap.pth")
    assert not (tmp_path / "executed").exists()


def test_errors_are_one_line(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="safetensors") as caught:
        load_sam("nano", tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_model_card_says_what_was_measured():
    import json

    facts = json.loads(models.NANO.with_suffix(".json").read_text())
    card = models.NANO.with_name("MODEL_CARD.md").read_text()
    test, graphs = facts["test"], facts["graph_stream"]
    for name in ("found", "found_largest"):
        assert f"| {test[name]:.3f} | {test['reachable'][name]:.3f} |" in card
    assert f"| {test['mask_iou']:.3f} | 1 |" in card
    for name in ("nano", "truth"):
        accuracy = np.array(graphs[name])
        assert f"| {graphs['nodes'][name]:.1f} | {100 * accuracy.mean():.1f} % |" in card
    lost = np.array(graphs["truth"]) - graphs["nano"]
    assert graphs["lost"] == pytest.approx(lost.mean())
    assert graphs["standard_error"] == pytest.approx(lost.std(ddof=1) / len(lost) ** 0.5)
    assert f"lose {100 * graphs['lost']:.1f} points" in card
    assert f"standard error {100 * graphs['standard_error']:.1f})" in card


def _published_name(name):
    """The name that a weight of MobileSAM's encoder has in the published checkpoint."""
    name = name.replace("body.patch_embed.conv1", "patch_embed.seq.0").replace(
        "body.patch_embed.conv2", "patch_embed.seq.2"
    )
    name = re.sub(r"body.stages.(\d).downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", name)
    return re.sub(r"\.conv\.(\w+)$", r".c.\1", name.replace("body.stages", "layers"))


def test_mobile_loads_the_published_names_and_keeps_64_places(tmp_path):
    pytest.importorskip("timm")
    torch.manual_seed(0)
    sam = models.build_sam("mobile")
    for parameter in sam.image_encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    state = {_published_name(name): value for name, value in sam.state_dict().items()}
    state |= {"image_encoder.norm_head.weight": torch.ones(320), "image_encoder.head.weight": torch.ones(1000, 320)}
    torch.save(state, tmp_path / "mobile_sam.pt")
    loaded = load_sam("mobile", tmp_path / "mobile_sam.pt")
    x = torch.randn(1, 3, 1024, 1024)
    with torch.inference_mode():
        embedding = loaded.image_encoder(x)
        assert torch.equal(embedding, sam.image_encoder.eval()(x))
    assert embedding.shape == (1, 256, 64, 64)
    with pytest.raises(ValueError, match="a mobile checkpoint, not nano"):
        load_sam("nano", tmp_path / "mobile_sam.pt")
