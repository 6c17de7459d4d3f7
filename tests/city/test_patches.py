"""Pairs cut from GeoTIFFs: every flavour of file gives the same pair; what cannot be cut is refused or counted."""

import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from geodata import GRASS, LEFT, TOP, UTM33, gray_rgb, reflectance, square, write_areas, write_s2, write_tif
from rasterio.warp import transform

from lczlib.__main__ import main
from lczlib.city.bands import ORDERS, physics_warnings
from lczlib.city.patches import OVER_EDGE, RGB_VOID, S2_VOID, TOO_SMALL, cut_patches
from lczlib.city.rasters import RGB, Sentinel2
from lczlib.data import check, open_pairs
from lczlib.data.layout import BANDS
from lczlib.runs import read_json

REAL = Path(os.environ.get("LCZ_REALDATA", "no folder"))


@pytest.fixture(scope="module")
def image():
    return reflectance(100, 100)


@pytest.fixture
def areas(tmp_path):
    return write_areas(tmp_path / "areas.geojson", [("LCZ 2", square(300, 300, 330)), ("D", square(640, 100, 330))])


def cut(folder, s2, polygons, **options):
    report = cut_patches(s2, polygons, folder / "out", **({"city": "here", "spacing": 320} | options))
    return report, open_pairs(folder / "out")


@pytest.mark.parametrize(
    ("names", "dtype", "dn", "stored", "given"),
    [
        (BANDS, "float32", False, 0, 0),
        (BANDS, "float64", True, 0, 0),
        (BANDS, "uint16", True, -1000, -1000),
        (ORDERS[12], "int16", True, 0, 0),
        (ORDERS[13], "uint16", True, -1000, -1000),
        (ORDERS[13], "float64", False, 0, 0),
    ],
)
def test_the_same_scene_in_any_flavour_gives_the_same_pair(tmp_path, image, areas, names, dtype, dn, stored, given):
    s2 = write_s2(tmp_path / "s2.tif", image, dtype, dn, stored, names)
    report, pairs = cut(tmp_path, s2, areas, offset=given)
    assert report.warnings == []
    assert pairs.s2.dtype == np.float32
    np.testing.assert_allclose(pairs.s2[0], image[30:62, 30:62], atol=6e-5)
    assert check(tmp_path / "out") == []


def test_band_names_in_the_file_or_as_option_give_the_order(tmp_path, image, areas):
    names = ("B12", "B08", "SCL", *(band for band in BANDS if band not in ("B8", "B12")))
    plain = tuple(name.replace("B0", "B") for name in names)
    named = write_s2(tmp_path / "named.tif", image, names=plain, descriptions=names)
    np.testing.assert_allclose(Sentinel2(named).read(0, 0, 32, 32), image[:32, :32])
    long = write_s2(tmp_path / "long.tif", image, names=plain, descriptions=[f"S2_{name}_median" for name in plain])
    np.testing.assert_allclose(Sentinel2(long).read(0, 0, 32, 32), image[:32, :32])
    mute = write_s2(tmp_path / "mute.tif", image, names=plain)
    np.testing.assert_allclose(Sentinel2(mute, bands=names).read(0, 0, 32, 32), image[:32, :32])
    with pytest.raises(ValueError, match=r"bands missing \(B2, .*the file has 11 bands\); export the ten bands"):
        Sentinel2(mute)
    with pytest.raises(ValueError, match="has 11 bands, --bands names 10"):
        Sentinel2(mute, bands=BANDS)


def test_index_names_city_polygon_and_kind(tmp_path, image, areas):
    report, pairs = cut(tmp_path, write_s2(tmp_path / "s2.tif", image), areas)
    assert pairs.index[["label", "city", "polygon"]].values.tolist() == [
        [2, "here", "here/LCZ-2/01"],
        [14, "here", "here/LCZ-D/01"],
    ]
    assert pairs.kind == "own city"
    assert (report.pairs, report.zones) == (2, {"2": 1, "D": 1})
    assert read_json(tmp_path / "out" / "patches.json")["pairs"] == 2


def test_polygons_in_another_crs_cut_the_same_squares(tmp_path, image):
    s2 = write_s2(tmp_path / "s2.tif", image)
    rows = [("2", square(302, 303, 330))]
    for name, crs in (("utm", None), ("degrees", "EPSG:4326"), ("laea", "EPSG:3035")):
        (tmp_path / name).mkdir()
        cut(tmp_path / name, s2, write_areas(tmp_path / f"{name}.gpkg", rows, to_crs=crs))
    first, *others = (open_pairs(tmp_path / name / "out").s2[0] for name in ("utm", "degrees", "laea"))
    assert all(np.array_equal(first, other) for other in others)


def ground(x, y):
    """A picture that is a function of ground coordinates (m east and south of the scene's corner): (..., 3) 0..255."""
    return np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 55), 128 + 100 * np.sin((x + y) / 70)], -1)


def write_ground(
    path, pixel, crs=UTM33, left=LEFT, top=TOP, side=1000, bands=(0, 1, 2), scale=1, dtype="uint8", **profile
):
    """`ground` seen by a camera of any pixel size in any CRS."""
    number = round(side / pixel)
    x, y = np.meshgrid(left + (np.arange(number) + 0.5) * pixel, top - (np.arange(number) + 0.5) * pixel)
    if crs != UTM33:
        x, y = (np.array(v).reshape(x.shape) for v in transform(crs, UTM33, x.ravel(), y.ravel()))
    picture = np.moveaxis(ground(x - LEFT, TOP - y), -1, 0)
    picture = np.concatenate([picture, np.full_like(picture[:1], 200)])[list(bands)]
    return write_tif(path, (picture * scale).round().astype(dtype), crs, left, top, pixel, **profile)


def seen(image, left=LEFT + 300, top=TOP - 300):
    picture, valid = image.read(UTM33, left, top)
    return picture.astype(float), valid


def expected():
    x, y = np.meshgrid(300 + np.arange(320) + 0.5, 300 + np.arange(320) + 0.5)
    return ground(x, y)


@pytest.mark.parametrize("pixel", [0.25, 0.5, 1.0, 2.0, 2.5])
def test_rgb_of_any_pixel_size_lands_on_the_same_square(tmp_path, pixel):
    picture, valid = seen(RGB(write_ground(tmp_path / "rgb.tif", pixel, side=640)))
    assert valid.all()
    assert np.abs(picture - expected()).max() < 4


def test_rgb_of_five_centimetres_lands_on_its_square(tmp_path):
    image = RGB(write_ground(tmp_path / "rgb.tif", 0.05, left=LEFT + 290, top=TOP - 290, side=60))
    picture, valid = image.read(UTM33, LEFT + 300, TOP - 300, side=40)
    assert valid.all()
    assert np.abs(picture.astype(float) - expected()[:40, :40]).max() < 4


def test_rgb_is_averaged_never_subsampled(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, 800, 800), dtype=np.uint8)
    image = RGB(write_tif(tmp_path / "rgb.tif", noise, pixel=0.5))
    mean = noise.reshape(3, 400, 2, 400, 2).mean(axis=(2, 4))[:, 40:360, 40:360]
    picture, _ = seen(image, LEFT + 40, TOP - 40)
    assert np.abs(np.moveaxis(picture, -1, 0) - mean).max() <= 0.51


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:32632", 0.9), ("EPSG:3857", 1.6), ("EPSG:3035", 2.0)])
def test_rgb_in_another_crs_shows_the_same_ground(tmp_path, crs, pixel):
    (x,), (y,) = transform(UTM33, crs, [LEFT + 400], [TOP - 400])
    picture, valid = seen(RGB(write_ground(tmp_path / "rgb.tif", pixel, crs, x - 500, y + 500, side=1000)))
    assert valid.all()
    assert np.abs(picture - expected()).mean() < 2


def test_bgr_and_nir_in_16_bits_and_rgba(tmp_path):
    dn = RGB(write_ground(tmp_path / "bgrn.tif", 1, bands=(2, 1, 0, 3), scale=8, dtype="uint16"))
    assert dn.indexes == [3, 2, 1]
    assert np.corrcoef(seen(dn)[0].ravel(), expected().ravel())[0, 1] > 0.99
    alpha = write_ground(tmp_path / "rgba.tif", 1, bands=(0, 1, 2, 3), photometric="RGB", alpha="unspecified")
    assert np.abs(seen(RGB(alpha))[0] - expected()).max() < 2
    assert np.abs(seen(RGB(alpha, bands=[3, 2, 1]))[0] - expected()[..., ::-1]).max() < 2


def test_bands_of_rgb_that_have_names_are_found_by_them(tmp_path):
    named = write_ground(tmp_path / "bgrn.tif", 1, bands=(2, 1, 0, 3), descriptions=("Blue", "Green", "Red", "NIR"))
    assert np.abs(seen(RGB(named))[0] - expected()).max() < 2


def test_palette_images_are_averaged_as_colours(tmp_path):
    index = np.indices((700, 700)).sum(0)[None] % 2
    path = write_tif(
        tmp_path / "p.tif", (index * 7).astype(np.uint8), pixel=0.5, colormap={0: (0, 0, 0), 7: (200, 100, 50)}
    )
    picture, valid = seen(RGB(path), LEFT, TOP)
    assert valid.all()
    np.testing.assert_allclose(picture.reshape(-1, 3).mean(0), (100, 50, 25), atol=1)
    assert np.ptp(picture, axis=(0, 1)).max() == 0


def test_both_patches_of_a_pair_show_the_same_square(tmp_path, image):
    """The RGB image is painted from the Sentinel-2 pixels themselves, in another CRS."""
    s2 = write_s2(tmp_path / "s2.tif", image)
    visible = np.moveaxis(image[..., [2, 1, 0]], -1, 0).repeat(10, 1).repeat(10, 2) * 1000
    rgb = write_tif(tmp_path / "rgb.tif", visible.clip(0, 255).astype(np.uint8), pixel=1.0)
    areas = write_areas(tmp_path / "a.geojson", [("2", square(200, 250, 500))], to_crs="EPSG:4326")
    report, pairs = cut(tmp_path, s2, areas, rgb=rgb, spacing=100)
    assert [warning for warning in report.warnings if "zones to tell it from" not in warning] == []
    coarse = pairs.rgb.reshape(len(pairs), 32, 10, 32, 10, 3).mean(axis=(2, 4))
    assert np.corrcoef(coarse.ravel(), pairs.s2[..., [2, 1, 0]].ravel())[0, 1] > 0.999
    swapped = cut_patches(s2, areas, tmp_path / "swapped", rgb, rgb_bands=[3, 2, 1])
    assert "red and blue look swapped" in swapped.warnings[0]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_rgb_image_of_one_value_is_warned_of(tmp_path, image, areas):
    s2 = write_s2(tmp_path / "s2.tif", image)
    flat, _ = cut(tmp_path, s2, areas, rgb=gray_rgb(tmp_path / "flat.tif", 90))
    assert [warning for warning in flat.warnings if "flat.tif" in warning] == [
        f"{tmp_path / 'flat.tif'}: has one value everywhere in the patches; choose another image"
    ]
    grays = image[..., [2, 2, 2]].transpose(2, 0, 1).repeat(10, 1).repeat(10, 2) * 1000  # red less blue is 0 everywhere
    gray = write_tif(tmp_path / "gray.tif", grays.clip(1, 255).astype(np.uint8), pixel=1.0)
    assert cut_patches(s2, areas, tmp_path / "gray", gray).warnings == []


def test_squares_at_edges_and_over_no_data_are_counted(tmp_path, image):
    holed = image.copy()
    holed[40, 40] = 0
    s2 = write_s2(tmp_path / "s2.tif", holed, "uint16", dn=True)
    rows = [
        ("2", square(300, 300, 330)),
        ("3", square(-100, 300, 330)),
        ("5", square(600, 600, 100)),
        ("6", square(600, 100, 330)),
    ]
    report, pairs = cut(tmp_path, s2, write_areas(tmp_path / "a.gpkg", rows))
    assert dict(report.skipped) == {S2_VOID: 1, OVER_EDGE: 1, TOO_SMALL: 1}
    assert pairs.labels.tolist() == [6]
    assert "skipped 1: no-data in Sentinel-2" in str(report)


@pytest.mark.parametrize("void", [{"nodata": -9999}, {"nodata": float("nan")}, {}])
def test_no_data_however_it_is_marked(tmp_path, image, void):
    holed = image.copy()
    holed[3, 4] = void.get("nodata", 0)
    seen = Sentinel2(write_s2(tmp_path / "s2.tif", holed, **void)).read(0, 0, 32, 32)
    assert np.isnan(seen[3, 4]).all()
    assert np.isnan(seen).sum() == 10


def test_a_square_that_the_rgb_image_does_not_cover_is_counted(tmp_path, image, areas):
    rgb = write_ground(tmp_path / "rgb.tif", 1, side=700)
    report, pairs = cut(tmp_path, write_s2(tmp_path / "s2.tif", image), areas, rgb=rgb)
    assert report.skipped[RGB_VOID] == 1
    assert pairs.labels.tolist() == [2]


def test_reflectance_beyond_0_to_1_is_kept(tmp_path, image, areas):
    bright = image.copy()
    bright[40:44, 40:44] = 1.4
    bright[50, 50, 0] = -0.005
    _, pairs = cut(tmp_path, write_s2(tmp_path / "s2.tif", bright, "int16", dn=True), areas)
    assert pairs.s2[0].max() == pytest.approx(1.4)
    assert pairs.s2[0].min() == pytest.approx(-0.005)


def test_a_scene_in_degrees_is_brought_to_utm(tmp_path):
    image = np.tile(np.float32(GRASS), (150, 150, 1)) * np.linspace(0.5, 1.5, 150, dtype=np.float32)[:, None, None]
    path = write_s2(tmp_path / "s2.tif", image, crs="EPSG:4326", left=13.3, top=52.52, pixel=0.00012)
    scene = Sentinel2(path)
    assert scene.crs.to_epsg() == 32633
    assert (scene.transform.a, scene.transform.e) == (10, -10)
    middle = scene.read(scene.height // 2 - 8, scene.width // 2 - 8, 16, 16)
    np.testing.assert_allclose(middle.mean((0, 1)), GRASS, rtol=0.02)


def reordered(*places):
    return lambda sample: sample[:, list(places)]


def test_an_offset_that_reflectance_cannot_take_is_named(tmp_path, image):
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", image), offset=-1000)
    assert scene.warnings == ["holds reflectance, so that --offset is not applied; check --units"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (reordered(2, 1, 0, 3, 4, 5, 6, 7, 8, 9), "band order"),
        (reordered(0, 1, 2, 6, 3, 4, 5, 7, 8, 9), "band order"),
        (reordered(0, 1, 2, 3, 4, 5, 6, 8, 9, 7), "band order"),
        (reordered(*range(9, -1, -1)), "band order"),
        (lambda sample: sample + 0.1, "--offset -1000"),
        (lambda sample: sample - 0.1, "applied twice"),
        (lambda sample: sample * 1e-4, "--units"),
    ],
)
def test_physics_doubts_wrong_orders_offsets_and_units(image, change, says):
    sample = image.reshape(-1, 10)
    assert physics_warnings(sample) == []
    assert any(says in warning for warning in physics_warnings(change(sample)))


def test_another_city_is_added_only_when_asked(tmp_path, image, areas):
    s2 = write_s2(tmp_path / "s2.tif", image)
    cut(tmp_path, s2, areas)
    with pytest.raises(ValueError, match="holds pairs already; name another folder, or add to them with --append"):
        cut(tmp_path, s2, areas)
    _, pairs = cut(tmp_path, s2, areas, city="there", append=True)
    assert pairs.ids.tolist() == [0, 1, 2, 3]
    assert pairs.cities.tolist() == ["here", "here", "there", "there"]
    shutil.copytree(tmp_path / "out" / "sen2_img_patches", tmp_path / "out" / "google_img_320")
    with pytest.raises(ValueError, match="its pairs have RGB patches; append pairs of one kind"):
        cut(tmp_path, s2, areas, city="elsewhere", append=True)


def far_away(folder, s2):
    areas = write_areas(folder / "far.geojson", [("2", square(90000, 0, 400))])
    return {"polygons": areas}, areas, "every polygon lies outside of the scene"


def rgb_elsewhere(folder, s2):
    rgb = write_ground(folder / "rgb.tif", 2, left=LEFT + 5000)
    return {"rgb": rgb}, rgb, "does not overlap"


def rgb_too_coarse(folder, s2):
    return {"rgb": s2}, s2, "pixels of 10 m; an RGB image of 0.1 to 2 m is expected"


def rgb_of_one_band(folder, s2):
    rgb = write_tif(folder / "gray.tif", np.ones((1, 50, 50), np.uint8), pixel=1)
    return {"rgb": rgb}, rgb, "bands missing"


def no_crs(folder, s2):
    path = write_s2(folder / "bare.tif", reflectance(40, 40), crs=None)
    return {"s2": path}, path, "no coordinate reference system"


def local_crs(folder, s2):
    path = write_s2(folder / "local.tif", reflectance(40, 40), crs='LOCAL_CS["site grid",UNIT["metre",1]]')
    return {"s2": path}, path, "CRS cannot be transformed"


def wholly_void(folder, s2):
    path = write_s2(folder / "void.tif", np.zeros((40, 40, 10), np.float32))
    return {"s2": path}, path, "wholly no-data"


def cut_short(folder, s2):
    path = folder / "short.tif"
    path.write_bytes(Path(s2).read_bytes()[:150_000])
    return {"s2": path}, path, "cut short or damaged"


def four_bands(folder, s2):
    path = write_tif(folder / "four.tif", np.ones((4, 40, 40), np.float32))
    return {"s2": path}, path, "bands missing (B2, B3"


def not_a_raster(folder, s2):
    path = folder / "text.tif"
    path.write_text("hello")
    return {"s2": path}, path, "not a raster"


def rgb_void(folder, s2):
    path = write_tif(folder / "black.tif", np.zeros((3, 500, 500), np.uint8), pixel=2)
    return {"rgb": path}, path, "wholly no-data"


def rgb_beside(folder, s2):
    rgb = write_ground(folder / "rgb.tif", 2, left=LEFT + 1000)
    return {"rgb": rgb}, rgb, "does not overlap"


def no_spacing(folder, s2):
    return {"spacing": 0}, "--spacing 0", "out of range"


def spacing_of_no_number(folder, s2):
    return {"spacing": float("nan")}, "--spacing nan", "out of range"


def spacing_without_end(folder, s2):
    return {"spacing": float("inf")}, "--spacing inf", "out of range"


def scene_without_a_name(folder, s2):
    return {"s2": ""}, "--s2", "names no file"


def nothing_fits(folder, s2):
    areas = write_areas(folder / "tiny.geojson", [("2", square(400, 400, 50))])
    return {"polygons": areas}, areas, "no square could be cut (1 x polygon covers too little"


FAULTS = (
    far_away,
    rgb_elsewhere,
    rgb_too_coarse,
    rgb_of_one_band,
    no_crs,
    local_crs,
    wholly_void,
    cut_short,
    four_bands,
    not_a_raster,
    nothing_fits,
    rgb_void,
    rgb_beside,
    no_spacing,
    spacing_of_no_number,
    spacing_without_end,
    scene_without_a_name,
)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("make", FAULTS)
def test_each_fault_is_one_line_with_a_remedy(tmp_path, image, areas, make):
    s2 = write_s2(tmp_path / "s2.tif", image)
    options, culprit, says = make(tmp_path, s2)
    with pytest.raises(ValueError, match="; ") as fault:
        cut_patches(**({"s2": s2, "polygons": areas, "out": tmp_path / "out"} | options))
    assert says in str(fault.value)
    assert str(fault.value).startswith(str(culprit))
    assert "\n" not in str(fault.value)


def test_the_command_line_cuts_or_says_why_not(tmp_path, image, areas, capsys):
    s2 = write_s2(tmp_path / "s2.tif", image, "uint16", dn=True, offset=-1000)
    arguments = ["patches", "--s2", str(s2), "--polygons", str(areas), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--offset", "-1000", "--city", "here"]) == 0
    assert "(LCZ 2: " in capsys.readouterr().out
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].endswith("holds pairs already; name another folder, or add to them with --append")


@pytest.mark.parametrize(
    ("zones", "said", "fault"),
    [
        (["2", "2", "2"], "all pairs are LCZ 2", "all pairs are of one zone"),
        (["2", "D"], "fewer than 3 polygons of LCZ 2 (1), LCZ D (1)", "leaves no pair to validate with"),
    ],
)
def test_too_few_zones_or_polygons_are_told_before_training(tmp_path, image, capsys, zones, said, fault):
    shapes = [square(30 + 310 * place, 300, 300) for place in range(len(zones))]
    areas = write_areas(tmp_path / "a.geojson", list(zip(zones, shapes, strict=True)))
    report, _ = cut(tmp_path, write_s2(tmp_path / "s2.tif", image), areas)
    assert any(said in line for line in report.notes + report.warnings)
    assert main(["train", str(tmp_path / "out"), "--stream", "s2", "--recipe", "demo", "--work", str(tmp_path)]) == 1
    assert fault in capsys.readouterr().err


def test_one_place_with_two_labels_is_warned_of_and_found_by_check(tmp_path, image):
    areas = write_areas(tmp_path / "a.geojson", [("2", square(300, 300, 330)), ("5", square(300, 300, 330))])
    report, _ = cut(tmp_path, write_s2(tmp_path / "s2.tif", image), areas)
    assert any("polygons 1 (LCZ 2) and 2 (LCZ 5) overlap" in warning for warning in report.warnings)
    assert any("with another label" in fault.fault for fault in check(tmp_path / "out"))


def test_swapped_longitude_and_latitude_are_named(tmp_path, image):
    areas = write_areas(tmp_path / "a.gpkg", [("2", square(300, 300, 330))], to_crs="EPSG:4326")
    frame = gpd.read_file(areas)
    frame.set_geometry(shapely.transform(frame.geometry, lambda xy: xy[:, ::-1])).to_file(areas)
    with pytest.raises(ValueError, match="longitude and latitude are swapped in it: export"):
        cut(tmp_path, write_s2(tmp_path / "s2.tif", image), areas)


def test_every_assumption_is_one_printed_line(tmp_path, image, areas):
    report, _ = cut(tmp_path, write_s2(tmp_path / "s2.tif", image, "uint16", dn=True), areas)
    lines = [line for line in str(report).splitlines() if line.startswith(("note: ", "warning: "))]
    for words in ("read as digital numbers", "order assumed: B2 B3", "class column 'lcz'"):
        assert sum(words in line for line in lines) == 1


def test_what_was_assumed_is_printed_where_the_cut_fails_too(tmp_path, image, areas, capsys):
    s2 = write_s2(tmp_path / "s2.tif", image, "uint16", dn=True)
    arguments = ["patches", "--s2", str(s2), "--polygons", str(areas), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--units", "reflectance"]) == 1
    printed = capsys.readouterr()
    assert "no square could be cut" in printed.err
    for words in (f"note: {s2}: read as reflectance", f"warning: {s2}: ", f"note: {areas}: class column 'lcz'"):
        assert words in printed.out
    assert " pairs (" not in printed.out


@pytest.mark.skipif(not (REAL / "berlin").exists(), reason="no folder of real samples (LCZ_REALDATA)")
def test_berlin_real_scene_and_polygons(tmp_path):
    report, _ = cut(
        tmp_path, REAL / "berlin/Berlin_S2_2024-10-24_sample.tif", REAL / "berlin/Berlin_labels.shp", spacing=160
    )
    assert set(report.zones) == {"2", "5"}
    assert report.warnings == []
    assert check(tmp_path / "out") == []


@pytest.mark.skipif(not (REAL / "terramind").exists(), reason="no folder of real samples (LCZ_REALDATA)")
@pytest.mark.parametrize(("name", "present"), [("433D_629L_3_1", True), ("637U_59R_1_3", False)])
@pytest.mark.parametrize("level", ["S2L1C", "S2L2A"])
def test_the_offset_that_no_tag_tells_is_noticed(name, present, level):
    path = REAL / "terramind" / level / f"{name}.tif"
    as_is, applied = Sentinel2(path).warnings, Sentinel2(path, offset=-1000).warnings
    assert any("--offset -1000" in w for w in as_is) == present
    assert any("applied twice" in w for w in applied) != present


@pytest.mark.skipif(not (REAL / "rotterdam").exists(), reason="no folder of real samples (LCZ_REALDATA)")
def test_rotterdam_real_bgrn_becomes_a_picture():
    image = RGB(REAL / "rotterdam/ms1.tif")
    assert image.indexes == [3, 2, 1]
    left, top = image.source.transform.c, image.source.transform.f
    picture, valid = image.read(image.source.crs, left + 5, top - 5, 280)
    assert valid.all()
    assert 30 < picture.mean() < 150
