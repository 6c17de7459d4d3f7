"""`python -m lczlib map` and `at`: trained runs, each fault of the input in one line."""

import gc
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import rasterio
from geodata import LEFT, TOP, Bright, Coded, gray_rgb, read, reflectance, write_s2, write_tif

from lczlib.__main__ import main
from lczlib.city.map import open_streams, pick_precision
from lczlib.errors import InputError
from lczlib.runs import write_json


@pytest.fixture
def run(tmp_path):
    """A trained run of the Sentinel-2 stream, tiny."""
    from lczlib.data.splits import make_split
    from lczlib.training import Recipe, train_stream

    rng = np.random.default_rng(0)
    index = pd.DataFrame(
        {"id": range(34), "label": np.arange(34) % 17 + 1, "city": "x", "polygon": [str(i) for i in range(34)]}
    )
    patches = rng.random((34, 32, 32, 10), np.float32) * index["label"].to_numpy(np.float32)[:, None, None, None] / 17
    recipe = Recipe.of("demo", "s2", epochs=1, width=2)
    split = make_split(index, "sample_pool", seed=0)
    return train_stream("s2", "resnet3d11", patches, index, split, recipe, 0, tmp_path).run.path


def test_a_trained_run_maps_a_scene_from_the_command_line(tmp_path, run, capsys):
    s2 = write_s2(tmp_path / "s2.tif", reflectance(80, 80), "uint16", dn=True)
    assert (
        main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif"), "--run", str(run), "--old-codes", "--epsg4326"])
        == 0
    )
    mapped, probability = read(tmp_path / "m.tif"), read(tmp_path / "m.tif", 3)
    assert mapped.shape == (8, 8)
    assert (mapped > 0).all()
    assert (probability >= 100 // 17).all()
    assert (tmp_path / "m_101-107.tif").exists()
    assert "km2" in capsys.readouterr().out
    assert main(["map", "--out", str(tmp_path / "m.tif"), "--compare", str(tmp_path / "m_101-107.tif")]) == 0
    assert "oa 1.000" in capsys.readouterr().out
    assert main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif")]) == 1  # nor is it lost
    assert "--run: a map needs a trained run" in capsys.readouterr().err
    np.testing.assert_array_equal(read(tmp_path / "m.tif", 3), probability)


def test_runs_that_do_not_serve_are_refused(tmp_path, run):
    with pytest.raises(InputError, match=r"no finished run there, run\.json is missing; make one with"):
        open_streams([tmp_path], True, False)
    with pytest.raises(ValueError, match=r"--run: no run of stream ge among .*; give one"):
        open_streams([run], True, True)
    with pytest.raises(InputError, match="--run: 2 runs of one stream"):
        open_streams([run, "demo-s2"], True, False)
    with pytest.raises(InputError, match=r"--run: a map needs a trained run .*python -m lczlib train"):
        open_streams([], True, False)
    stream, none = open_streams([run], True, False)
    assert (stream.stream, none) == ("s2", None)
    (run / "about.json").write_text("[]")
    with pytest.raises(InputError, match=r"about\.json: holds no JSON object"):
        open_streams([run], True, False)


def test_precision_is_chosen_by_what_is_faster(run, monkeypatch):
    stream = open_streams([run], True, False)[0]
    for bf16, chosen in ((0.5, "bf16"), (0.9, "fp32")):  # s, where fp32 takes 1
        clock = SimpleNamespace(perf_counter=iter(np.cumsum([0, 1, 0, bf16] * 3)).__next__)
        monkeypatch.setattr("lczlib.city.map.time", clock)
        assert pick_precision(stream, patches=2) == chosen
    monkeypatch.undo()
    assert open_streams([run], True, False, precision="auto")[0].precision in ("fp32", "bf16")


def test_a_run_may_call_its_data_what_it_likes(tmp_path, run):
    s2 = write_s2(tmp_path / "s2.tif", reflectance(40, 40))
    for data in (5, None):
        write_json(run / "about.json", {"data": data})
        assert main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif"), "--run", str(run)]) == 0


def test_in_bf16_close_decisions_are_made_in_fp32(run):
    patches = np.random.default_rng(2).random((40, 32, 32, 10), np.float32) * 0.4
    exact, low = (open_streams([run], True, False, precision=name)[0](patches) for name in ("fp32", "bf16"))
    close = np.diff(np.sort(low, axis=1)[:, -2:]).ravel() < 0.02
    assert close.any()
    np.testing.assert_allclose(low[close], exact[close], atol=1e-6)
    np.testing.assert_allclose(low, exact, atol=0.02)


def test_a_run_of_the_synthetic_world_says_so_on_every_output(tmp_path, run, capsys):
    write_json(run / "about.json", {"data": "synthetic"})
    s2 = write_s2(tmp_path / "s2.tif", reflectance(80, 80))
    options = ["--run", str(run), "--precision", "bf16", "--epsg4326", "--kmz"]
    assert main(["map", "--s2", str(s2), "--out", str(tmp_path / "m.tif"), *options]) == 0
    said = capsys.readouterr().out
    assert "bf16, trained on synthetic pairs" in said
    for name in ("m", "m_filtered", "m_epsg4326"):
        with rasterio.open(tmp_path / f"{name}.tif") as data:
            assert "no real city" in data.tags()["note"]
    assert "no real city" in (tmp_path / "m_classes.csv").read_text()


def test_zones_at_stations_from_the_command_line(tmp_path, blocky, capsys):
    (tmp_path / "s.csv").write_text(f"name,x,y\na,{LEFT + 1250},{TOP - 1250}\n")
    assert main(["at", str(blocky[2].path), str(tmp_path / "s.csv")]) == 0
    header, row = capsys.readouterr().out.strip().splitlines()
    assert header == "name,x,y,lcz,lcz_name,probability"
    assert row.endswith("0.9")
    assert main(["at", str(blocky[2].path), str(tmp_path / "none.csv")]) == 1
    assert "no such file; give a CSV" in capsys.readouterr().err


def test_the_rgb_stream_finds_its_instances_as_its_pairs_were_made(tmp_path):
    from lczlib.data.splits import make_split
    from lczlib.graphs import GraphSet
    from lczlib.sam import MaskSettings
    from lczlib.training import Recipe, train_stream

    index = pd.DataFrame({"id": range(34), "label": np.arange(34) % 17 + 1, "city": "x", "polygon": ""})
    x = np.random.default_rng(0).random((34, 50, 5), np.float32)
    graphs = GraphSet(index["id"].to_numpy(), x, np.full(34, 50, np.int64))
    recipe, split = Recipe.of("demo", "ge", epochs=1, width=4), make_split(index, "sample_pool", seed=0)
    trained = train_stream("ge", "gcn", graphs, index, split, recipe, 0, tmp_path).run
    assert open_streams([trained.path], False, True, "vit_b")[1].masks == (
        "vit_b",
        MaskSettings.named("paper", "vit_b"),
    )
    trained.publish("ge_sample_pool_0", data="synthetic", sam="nano", masks="smoke")
    _, stream = open_streams([trained.path], False, True)
    assert stream.masks == ("nano", MaskSettings.named("smoke", "nano"))
    p = stream(np.random.default_rng(1).integers(0, 255, (2, 320, 320, 3), dtype=np.uint8))
    assert p.shape == (2, 17)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def small_scene(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", reflectance(30, 60)))], "smaller than one window of 320 m"


def void_scene(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", np.zeros((60, 60, 10), np.float32)))], "wholly no-data"


def cut_short(folder):
    whole = write_s2(folder / "whole.tif", reflectance(60, 60))
    (folder / "s2.tif").write_bytes(whole.read_bytes()[:90_000])
    return ["--s2", str(folder / "s2.tif")], "cut short or damaged"


def odd_step(folder):
    return ["--s2", str(write_s2(folder / "s2.tif", reflectance(60, 60))), "--step", "33"], "not a multiple of 10 m"


def long_step(folder):
    return [*odd_step(folder)[0][:2], "--step", "5000"], "larger than the scene"


def no_geotiff(folder):
    return [*odd_step(folder)[0][:2], "--out", str(folder / "m.png")], "name it .tif"


def odd_alpha(folder):
    rgb = gray_rgb(folder / "rgb.tif", 99)
    return [*odd_step(folder)[0][:2], "--rgb", str(rgb), "--alpha", "2"], "not between 0 and 1"


def nothing(folder):
    return [], "no image given"


def no_scheduler(folder):
    return [*odd_step(folder)[0][:2], "--dask", "tcp://127.0.0.1:9"], "no Dask scheduler there"


def its_own_scene(folder):
    scene = odd_step(folder)[0][1]
    return ["--s2", scene, "--out", scene], "is read, and --out would replace it"


def its_own_areas(folder):
    return [*odd_step(folder)[0][:2], "--html", "--areas", str(small_areas(folder / "m.kmz"))], "would replace it"


def lost_areas(folder):
    return [*odd_step(folder)[0][:2], "--html", "--areas", str(folder / "none.kml")], "no such file"


def lost_other(folder):
    return [*odd_step(folder)[0][:2], "--compare", str(folder / "none.tif")], "no such file"


def a_folder(folder):
    (folder / "d.tif").mkdir()
    return [*odd_step(folder)[0][:2], "--out", str(folder / "d.tif")], "is a folder"


def small_areas(path):
    kml = path.with_suffix(".kml")
    ring = " ".join(f"{x},{y}" for x, y in ((13.3, 52.5), (13.31, 52.5), (13.31, 52.51), (13.3, 52.5)))
    kml.write_text(
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>LCZ 2</name><Polygon><outerBoundaryIs>'
        f"<LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></Document>"
        "</kml>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(kml, "doc.kml")
    return path


def elsewhere(folder):
    return [*odd_step(folder)[0][:2], "--rgb", str(gray_rgb(folder / "r.tif", 9, left=LEFT + 1e5))], "does not overlap"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "make",
    [small_scene, void_scene, cut_short, odd_step, long_step, no_geotiff, odd_alpha, nothing, no_scheduler, elsewhere,
     its_own_scene, its_own_areas, lost_areas, lost_other, a_folder],
)  # fmt: skip
def test_the_command_line_says_each_fault_in_one_line(tmp_path, make, monkeypatch, capsys):
    options, says = make(tmp_path)
    monkeypatch.setattr("lczlib.city.map.open_streams", lambda *a: (Coded(), Bright()))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert main(["map", "--out", str(tmp_path / "m.tif"), *options]) == 1
    gc.collect()  # a Dask client that did not connect must not complain later either
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if "chunk" not in line and line.strip()]) == 1
    error = error[-1]
    assert says in error
    assert "; " in error
    assert not (tmp_path / "m.tif").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_bands_of_the_rgb_file_are_named_in_order(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Bright, "__call__", lambda self, x: seen.append(x) or np.full((len(x), 17), 1 / 17))
    monkeypatch.setattr("lczlib.city.map.open_streams", lambda *a: (None, Bright()))
    image = np.stack([np.full((320, 320), level, np.uint8) for level in (10, 20, 30)])
    rgb = write_tif(tmp_path / "rgb.tif", image, pixel=1.0)
    assert main(["map", "--rgb", str(rgb), "--rgb-bands", "3,2,1", "--out", str(tmp_path / "m.tif")]) == 0
    assert seen[0][0, 0, 0].tolist() == [30, 20, 10]


def test_a_table_of_stations_is_neither_replaced_nor_replaces_the_map(tmp_path, blocky, capsys):
    path, table = blocky[2].path, tmp_path / "s.csv"
    table.write_text(f"x,y\n{LEFT + 1250},{TOP - 1250}\n")
    before = path.read_bytes()
    for out in (path, table):
        assert main(["at", str(path), str(table), "--out", str(out)]) == 1
        assert "is read, and --out would replace it" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(["at", str(path), str(table), "--out", str(tmp_path / "found.csv")]) == 0
    assert (tmp_path / "found.csv").read_text().startswith("x,y,lcz,")


def test_a_factsheet_with_a_raster_of_no_zones_is_refused_before_the_work(tmp_path, capsys):
    raster = write_s2(tmp_path / "s2.tif", reflectance(40, 40), "uint16", dn=True)
    assert main(["assess", str(tmp_path), "--map", str(raster)]) == 1
    assert "are no Local Climate Zones" in capsys.readouterr().err
