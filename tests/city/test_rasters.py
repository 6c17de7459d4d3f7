"""What the values of a file are, which of them are no data, and where they lie: right, said aloud, or refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from affine import Affine
from geodata import GRASS, LEFT, TOP, UTM33, reflectance, write_s2, write_tif
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.warp import transform

from lczlib.city.rasters import RGB, Sentinel2
from lczlib.city.source import one_line, utm_of
from lczlib.data.layout import BANDS
from lczlib.errors import InputError

IMAGE = reflectance(64, 64)


def tagged(path, scales, offsets=0.0):
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = [scales] * file.count, [offsets] * file.count
    return path


# --- which value is which


@pytest.mark.parametrize(
    ("dtype", "stored", "scale", "add"),
    [
        ("uint16", lambda r: r * 1e4, 1e-4, 0.0),
        ("uint16", lambda r: (r + 0.1) * 1e4, 1e-4, -0.1),
        ("uint8", lambda r: r * 255 / 0.6, 0.6 / 255, 0.0),
        ("uint16", lambda r: r * 65535, 1 / 65535, 0.0),
        ("float32", lambda r: r * 100, 0.01, 0.0),
    ],
)
def test_tags_of_scale_and_offset_are_honoured(tmp_path, dtype, stored, scale, add):
    values = stored(IMAGE) if dtype == "float32" else np.rint(stored(IMAGE))
    scene = Sentinel2(tagged(write_s2(tmp_path / "s2.tif", values, dtype), scale, add))
    np.testing.assert_allclose(scene.read(0, 0, 64, 64), IMAGE, atol=scale)
    assert any(note.startswith("reflectance by its tags") for note in scene.notes)
    again = Sentinel2(*scene.arguments)
    np.testing.assert_array_equal(again.read(0, 0, 64, 64), scene.read(0, 0, 64, 64))


def test_tags_that_give_no_reflectance_are_named_and_left(tmp_path):
    path = tagged(write_s2(tmp_path / "s2.tif", IMAGE, "uint16", dn=True), 10000.0)
    scene = Sentinel2(path)
    np.testing.assert_allclose(scene.read(0, 0, 64, 64), IMAGE, atol=6e-5)
    assert "give no reflectance and are not used" in scene.warnings[0]
    twice = Sentinel2(tagged(write_s2(tmp_path / "t.tif", IMAGE, "uint16", True, -1000), 1e-4, -0.1), offset=-1000)
    np.testing.assert_allclose(twice.read(0, 0, 64, 64), IMAGE, atol=6e-5)
    assert "--offset is not" in twice.warnings[0]


@pytest.mark.parametrize(
    ("dtype", "stored", "says"),
    [
        ("uint8", lambda r: np.clip(r / 0.4 * 255, 1, 255), "8 bits or per cent"),
        ("uint16", lambda r: np.clip(r / 0.4 * 255, 1, 255), "8 bits or per cent"),
        ("float32", lambda r: r * 100, "8 bits or per cent"),
        ("uint16", lambda r: np.clip(r / 0.4, 0, 1) * 65535, "stretched to 16 bits"),
    ],
)
def test_values_that_are_neither_reflectance_nor_dn_are_refused(tmp_path, dtype, stored, says):
    with pytest.raises(ValueError, match=says):
        Sentinel2(write_s2(tmp_path / "s2.tif", stored(IMAGE), dtype))


@pytest.mark.parametrize(
    ("dtype", "stored", "offset", "says"),
    [
        ("uint16", lambda r: r * 65535, 0, "brighter than land"),
        ("float32", lambda r: np.clip(r * 3, 0, 1), 0, "exactly 1"),
        ("uint16", lambda r: r * 1000, 0, "check --units"),
        ("uint16", lambda r: r * 1e4 + 1000, 0, "use --offset -1000"),
        ("int16", lambda r: r * 1e4, -1000, "applied twice"),
        ("float32", lambda r: r, -1000, "--offset is not applied"),
        ("float32", lambda r: r + 0.1, 0, "use --offset -1000"),
    ],
)
def test_doubtful_values_are_warned_of_with_the_likely_cause(tmp_path, dtype, stored, offset, says):
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", stored(IMAGE), dtype), offset=offset)
    assert any(says in warning for warning in scene.warnings)


def test_reading_as_reflectance_or_dn_is_said(tmp_path):
    assert "read as reflectance" in Sentinel2(write_s2(tmp_path / "a.tif", IMAGE)).notes
    path = write_s2(tmp_path / "b.tif", IMAGE, "uint16", True, -1000)
    assert "read as digital numbers: reflectance = (DN -1000) / 10000" in Sentinel2(path, offset=-1000).notes


# --- which value is no data


@pytest.mark.parametrize(
    ("dtype", "dn", "mark", "tag"),
    [
        ("int16", True, -9999, None),
        ("int16", True, -32768, None),
        ("float32", False, -9999, None),
        ("float32", False, np.finfo(np.float32).min, None),
        ("float32", False, np.nan, None),
        ("float64", True, -1e20, None),
        ("float32", False, np.inf, None),
        ("float32", True, -99999, None),
        ("uint16", True, 65535, None),
        ("int16", True, 32767, None),
        ("int16", True, -999, None),
        ("float32", False, -1, None),
        ("uint16", True, 0, None),
        ("uint16", True, 0, 0),
        ("int16", True, -9999, -9999),
        ("float32", False, np.nan, np.nan),
        ("int16", True, -999, -999),
        ("uint16", True, 65535, 65535),
        ("float32", False, 0, 0),
        ("uint16", True, 1, 1),
        ("float32", False, -3.4e38, -3.4e38),
    ],
)
@pytest.mark.parametrize("crs_pixel", [(UTM33, 10), (UTM33, 20)])
def test_no_data_however_marked_never_becomes_reflectance(tmp_path, dtype, dn, mark, tag, crs_pixel):
    stored = np.rint(IMAGE * 1e4) if dn else IMAGE.copy()
    stored[:, :7] = mark
    stored[33, 34] = mark
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", stored, dtype, nodata=tag, crs=crs_pixel[0], pixel=crs_pixel[1]))
    found = scene.read(0, 0, scene.height, scene.width)
    assert np.nanmin(found) > 0
    assert np.nanmax(found) < 1
    assert np.array_equal(np.isnan(found).any(-1), np.isnan(found).all(-1))
    if crs_pixel[1] == 10:
        assert np.isnan(found[:, :7]).all()
        assert np.isnan(found[33, 34]).all()
        assert np.isnan(found).sum() == 10 * (64 * 7 + 1)


def test_no_data_in_some_bands_only(tmp_path):
    for mark in (-9999, 0):
        stored = np.rint(IMAGE * 1e4)
        bright = IMAGE[..., :8].max(-1) > 0.26
        stored[..., 8:][bright] = mark  # SWIR ends before the others do
        scene = Sentinel2(write_s2(tmp_path / "s2.tif", stored, "int16", nodata=0))
        assert np.array_equal(np.isnan(scene.read(0, 0, 64, 64)[..., 0]), bright)


@pytest.mark.parametrize("tag", [0, 255, 400, -1])
def test_valid_values_that_equal_the_tag_are_kept(tmp_path, tag):
    stored = np.rint(IMAGE * 0.3 * 1e4)
    stored[10:20, 10:20, 3:5] = tag  # dark water in one band
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", stored, "int16", nodata=tag))
    assert np.isnan(scene.read(0, 0, 64, 64)).sum() == (1000 if tag == -1 else 0)


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_a_mask_or_alpha_band_tells_no_data(tmp_path, kind):
    path, valid = tmp_path / "s2.tif", np.full((64, 64), 255, np.uint8)
    valid[:9] = 0
    if kind == "mask":
        with rasterio.open(write_s2(path, IMAGE), "r+") as file:
            file.write_mask(valid)
    else:
        write_s2(path, IMAGE, "uint16", dn=True, names=BANDS_AND_ALPHA, descriptions=BANDS_AND_ALPHA)
        with rasterio.open(path, "r+") as file:
            file.write(valid.astype(np.uint16) * 257, 11)
            file.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 9, ColorInterp.alpha]
    assert np.array_equal(np.isnan(Sentinel2(path).read(0, 0, 64, 64)[..., 0]), valid == 0)


BANDS_AND_ALPHA = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12", "alpha")


def test_infrared_tagged_as_alpha_is_no_mask(tmp_path):
    infrared = np.random.default_rng(0).integers(0, 200, (400, 400)).astype(np.uint8)
    stored = np.concatenate([np.random.default_rng(1).integers(1, 255, (3, 400, 400), dtype=np.uint8), infrared[None]])
    path = write_tif(tmp_path / "rgbn.tif", stored, pixel=1, photometric="RGB", alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    image = RGB(path)
    picture, valid = image.read(UTM33, LEFT + 20, TOP - 20)
    assert valid.all()
    np.testing.assert_array_equal(picture, np.moveaxis(stored[:3, 20:340, 20:340], 0, -1))
    assert "alpha holds an image" in image.notes[0]
    scene = write_s2(tmp_path / "s2.tif", IMAGE, "uint16", dn=True)
    with rasterio.open(scene, "r+") as file:
        file.colorinterp = [
            ColorInterp.blue,
            ColorInterp.green,
            ColorInterp.red,
            ColorInterp.alpha,
            *[ColorInterp.undefined] * 6,
        ]
    assert not np.isnan(Sentinel2(scene).read(0, 0, 64, 64)).any()


def rgb(path, change, dtype="uint8", **profile):
    picture = np.random.default_rng(0).integers(30, 250, (3, 400, 400)).astype(dtype)
    change(picture)
    return RGB(write_tif(path, picture, pixel=1, **profile)).read(UTM33, LEFT + 40, TOP - 40)[1]


def collar(value):
    def change(picture):
        picture[:, np.add.outer(np.arange(400), np.arange(400)) < 140] = value

    return change


def shadows(picture):
    picture[:, 60:300:37, 60:300:41] = 0
    picture[:, 200:205, 200:206] = 0


@pytest.mark.parametrize("tag", [0, None, 255])
def test_single_black_pixels_are_shadow_and_kept(tmp_path, tag):
    assert rgb(tmp_path / "rgb.tif", shadows, nodata=tag).all()


def test_glare_in_16_bits_is_kept(tmp_path):
    def glare(picture):
        picture[:, 60:300:37, 60:300:41] = 65535

    assert rgb(tmp_path / "rgb.tif", glare, "uint16").all()


@pytest.mark.parametrize(
    ("value", "dtype", "tag"),
    [
        (0, "uint8", 0),
        (0, "uint8", None),
        (255, "uint8", 255),
        (0, "uint16", None),
        (65535, "uint16", None),
        (-9999, "int16", None),
        (-9999, "float32", -9999),
        (np.nan, "float32", None),
        (-32768, "int16", None),
        (-1, "int16", None),
        (32767, "int16", None),
    ],
)
def test_the_collar_of_a_turned_image_is_no_data(tmp_path, value, dtype, tag):
    valid = rgb(tmp_path / "rgb.tif", collar(value), dtype, nodata=tag)
    empty = np.add.outer(np.arange(40, 360), np.arange(40, 360)) < 140
    assert np.array_equal(valid, ~empty)


# --- where it lies


def ramp(lon, lat):
    """(h, w, 10) reflectance that depends on the place alone (degrees from 180 E 17 S)."""
    east, south = np.mod(lon, 360) - 180, -17 - lat
    return (np.float32(GRASS) * (1 + 20 * east + 10 * south)[..., None]).astype(np.float32)


def write_ramp(path, grid, crs, shape=(120, 240), wrapped=False):
    x, y = grid @ np.array(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)).reshape(2, -1)
    if "3857" in crs:
        lon, lat = np.degrees(x / 6378137), np.degrees(2 * np.arctan(np.exp(y / 6378137)) - np.pi / 2)
    else:
        lon, lat = x, y
    image = ramp(lon.reshape(shape), lat.reshape(shape))
    with rasterio.open(
        path, "w", driver="GTiff", height=shape[0], width=shape[1], count=10, dtype="float32", crs=crs, transform=grid
    ) as file:
        file.write(np.moveaxis(image, -1, 0))
    return path


STEP = 10 / 111320


@pytest.mark.parametrize(
    ("crs", "grid"),
    [
        ("EPSG:4326", Affine(STEP, 0, 180 - 100 * STEP, 0, -STEP, -17)),
        ("EPSG:4326", Affine(STEP, 0, -180 - 100 * STEP, 0, -STEP, -17)),
        ("EPSG:4326", Affine(STEP, 0, 180.1, 0, -STEP, -17)),  # longitudes 0 to 360
        ("EPSG:3857", Affine(10.46, 0, 20037508.34 - 1000, 0, -10.46, -1920000)),
        ("EPSG:3857", Affine(10.46, 0, -20037508.34 - 1000, 0, -10.46, -1920000)),
    ],
)
def test_a_scene_across_180_degrees_is_whole_and_in_its_place(tmp_path, crs, grid):
    scene = Sentinel2(write_ramp(tmp_path / "s2.tif", grid, crs))
    assert scene.crs.to_epsg() in (32701, 32760)
    found = scene.read(0, 0, scene.height, scene.width)
    rows, cols = np.mgrid[: scene.height, : scene.width]
    x, y = scene.transform @ np.array([cols.ravel() + 0.5, rows.ravel() + 0.5])
    lon, lat = (np.array(axis).reshape(rows.shape) for axis in transform(scene.crs, "EPSG:4326", x, y))
    seen = np.isfinite(found[..., 0])
    assert seen.mean() > 0.93
    np.testing.assert_allclose(found[seen], ramp(lon, lat)[seen], rtol=0.004)


def test_an_rgb_image_across_180_degrees_is_whole(tmp_path):
    step = 1 / 111320
    grid = Affine(step, 0, 180 - 200 * step, 0, -step, -17)
    picture = np.broadcast_to(np.arange(400) // 2, (3, 400, 400)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "rgb.tif",
        "w",
        driver="GTiff",
        height=400,
        width=400,
        count=3,
        dtype="uint8",
        crs="EPSG:4326",
        transform=grid,
    ) as file:
        file.write(picture)
    image = RGB(tmp_path / "rgb.tif")
    (x,), (y,) = transform("EPSG:4326", "EPSG:32701", [180.0], [-17.0 - 200 * step])
    found, valid = image.read(rasterio.crs.CRS.from_epsg(32701), x - 160, y + 160)
    assert valid.mean() > 0.98
    assert abs(int(np.median(found[:, 160])) - 100) <= 2


def test_pixels_of_nearly_ten_metres_do_not_drift(tmp_path):
    near = Sentinel2(write_s2(tmp_path / "near.tif", reflectance(100, 100), pixel=9.9999))
    assert near.transform == near.source.transform  # a centimetre over the whole scene
    other = Sentinel2(write_s2(tmp_path / "s2.tif", reflectance(100, 600), pixel=9.99))
    assert (other.transform.a, other.width) == (10, 600)
    assert any("brought to 10 m in EPSG:32633" in note for note in other.notes)
    scene = other.read(0, 560, 32, 32)
    np.testing.assert_allclose(scene.mean((0, 1)), reflectance(100, 600)[:32, 561:593].mean((0, 1)), rtol=0.05)


@pytest.mark.parametrize("turn", ["south-up", "rotated", "half a pixel", "feet"])
def test_grids_of_any_direction_show_the_same_ground(tmp_path, turn):
    x, y = np.meshgrid(np.arange(400) * 10.0 + 5, np.arange(400) * 10.0 + 5)

    def ground(x, y):
        return (np.float32(GRASS) * (0.5 + (x + 2 * y) / 12000)[..., None]).astype(np.float32)

    place, crs = Affine.translation(LEFT, TOP) @ Affine.scale(1, -1), UTM33
    own = {
        "south-up": Affine(10, 0, 0, 0, -10, 4000),
        "rotated": Affine.translation(1000, 0) @ Affine.rotation(20) @ Affine.scale(10),
        "half a pixel": Affine(10, 0, 5, 0, 10, 5),
        "feet": Affine(10, 0, 0, 0, 10, 0),
    }[turn]
    columns, rows = np.meshgrid(np.arange(400) + 0.5, np.arange(400) + 0.5)
    east, south = own @ np.array([columns.ravel(), rows.ravel()])
    grid = place @ own
    if turn == "feet":
        crs, grid = "+proj=utm +zone=33 +datum=WGS84 +units=us-ft", Affine.scale(3937 / 1200) @ grid
    stored = np.moveaxis(ground(east, south).reshape(400, 400, 10), -1, 0)
    with rasterio.open(
        tmp_path / "s2.tif",
        "w",
        driver="GTiff",
        height=400,
        width=400,
        count=10,
        dtype="float32",
        crs=crs,
        transform=grid,
    ) as file:
        file.write(stored)
    scene = Sentinel2(tmp_path / "s2.tif")
    found = scene.read(0, 0, scene.height, scene.width)
    rows, cols = np.mgrid[: scene.height, : scene.width]
    x, y = scene.transform @ np.array([cols.ravel() + 0.5, rows.ravel() + 0.5])
    seen = np.isfinite(found[..., 0])
    assert seen.sum() > 0.98 * 160000
    np.testing.assert_allclose(found[seen], ground(x - LEFT, TOP - y).reshape(found.shape)[seen], rtol=0.01)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_a_place_is_refused_with_the_reason(tmp_path):
    profile = {"driver": "GTiff", "height": 40, "width": 40, "count": 10, "dtype": "float32"}
    corners = [GroundControlPoint(r, c, LEFT + 10 * c, TOP - 10 * r) for r in (0, 40) for c in (0, 40)]
    with rasterio.open(tmp_path / "gcp.tif", "w", **profile, gcps=corners, crs=UTM33) as file:
        file.write(np.full((10, 40, 40), 0.1, np.float32))
    with rasterio.open(tmp_path / "bare.tif", "w", **profile, crs=UTM33) as file:
        file.write(np.full((10, 40, 40), 0.1, np.float32))
    with rasterio.open(
        tmp_path / "line.tif", "w", **profile, crs=UTM33, transform=Affine(10, 0, LEFT, 10, 0, TOP)
    ) as file:
        file.write(np.full((10, 40, 40), 0.1, np.float32))
    for kind in (Sentinel2, RGB):
        with pytest.raises(InputError, match="lays all pixels on one line"):
            kind(tmp_path / "line.tif")
        with pytest.raises(ValueError, match="placed by 4 control points only; warp it first: gdalwarp"):
            kind(tmp_path / "gcp.tif")
        with pytest.raises(ValueError, match="has a CRS but no position"):
            kind(tmp_path / "bare.tif")


def test_gdal_keeps_a_bounded_part_of_a_file_whatever_the_machines_memory():
    with one_line("a file"):
        assert rasterio.env.getenv()["GDAL_CACHEMAX"] <= 200e6


def test_several_images_in_one_file_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "two.nc"
    path.write_bytes(b"")
    data = SimpleNamespace(count=0, subdatasets=["a", "b"])
    monkeypatch.setattr(rasterio, "open", lambda _: data)
    with pytest.raises(ValueError, match="holds 2 images, not one; export the bands as one GeoTIFF"):
        Sentinel2(path)


@pytest.mark.parametrize(
    ("value", "dtype", "tag"),
    [(0.2, "float32", None), (0.04, "float32", None), (0.2, "float32", 0), (1500, "uint16", None), (900, "int16", 0)],
)
def test_a_scene_of_one_value_is_an_image_where_the_value_is_a_reflectance(tmp_path, value, dtype, tag):
    scene = Sentinel2(write_tif(tmp_path / "one.tif", np.full((10, 40, 40), value, dtype), nodata=tag))
    np.testing.assert_allclose(scene.read(4, 4, 32, 32), value if value < 1 else value / 1e4, rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(0, "uint16"), (-9999, "float32"), (-32768, "int16"), (65535, "uint16"), (np.finfo("f4").min, "float32"),
     (np.nan, "float32")],
)  # fmt: skip
def test_a_scene_of_one_value_is_no_data_where_files_are_filled_with_it(tmp_path, value, dtype):
    with pytest.raises(InputError, match="wholly no-data"):
        Sentinel2(write_tif(tmp_path / "one.tif", np.full((10, 40, 40), value, dtype)))


@pytest.mark.parametrize(("crs", "left", "top", "pixel"), [
    ("EPSG:4326", 13.0, 151.0, 1e-4), ("EPSG:4326", LEFT, TOP, 10.0), ("EPSG:4258", 52.0, 113.0, 1e-4),
])  # fmt: skip
def test_a_place_that_is_nowhere_on_earth_is_refused_as_such(tmp_path, crs, left, top, pixel):
    path = write_s2(tmp_path / "s2.tif", IMAGE, crs=crs, left=left, top=top, pixel=pixel)
    with pytest.raises(InputError, match="lies nowhere on Earth"):
        Sentinel2(path)


@pytest.mark.parametrize("band", [0, 5, 9])
@pytest.mark.parametrize("dn", [False, True])
def test_a_band_of_one_value_is_warned_of(tmp_path, band, dn):
    image = IMAGE.copy()
    image[..., band] = 0.2
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", image, "uint16" if dn else "float32", dn, descriptions=BANDS))
    assert any(f"{BANDS[band]}: one value everywhere" in warning for warning in scene.warnings)


HOLE = np.zeros(IMAGE.shape[:2], bool)
HOLE[:20, :30] = True


@pytest.mark.parametrize(("dtype", "dn", "added", "mark", "profile", "scale", "add", "given"), [
    ("uint16", True, 0.0, 0, {"nodata": 0}, 1e-4, 0.0, {}),  # tags of scale beside a tag of no data
    ("uint16", True, 0.1, 0, {"nodata": 0}, 1e-4, -0.1, {}),
    ("uint16", True, 0.1, 0, {}, 1e-4, -0.1, {}),
    ("uint16", True, 0.1, 0, {}, 1, 0, {"offset": -1000.0}),
    ("int16", True, 0.0, -9999, {"nodata": 0}, 1, 0, {}),  # another mark than the tagged one
    ("int16", True, 0.0, -9999, {"nodata": -32768}, 1, 0, {}),
    ("uint16", True, 0.0, 0, {"nodata": 65535}, 1, 0, {}),
    ("float32", False, 0.0, -9999.0, {"nodata": float("nan")}, 1, 0, {}),
    ("int32", True, 0.0, -(2**31), {}, 1, 0, {}),  # fills of other formats
    ("uint32", True, 0.0, 2**32 - 1, {}, 1, 0, {}),
    ("float32", False, 0.0, 9.96921e36, {}, 1, 0, {}),
    ("float64", False, 0.0, 9999.0, {"nodata": 9999.0}, 1, 0, {}),
])  # fmt: skip
def test_values_and_no_data_together(tmp_path, dtype, dn, added, mark, profile, scale, add, given):
    stored = np.moveaxis(IMAGE + np.float32(added), -1, 0)
    stored = (np.rint(stored * 10000) if dn else stored).astype(dtype)
    stored[:, HOLE] = mark
    path = write_tif(tmp_path / "s2.tif", stored, descriptions=BANDS, **profile)
    scene = Sentinel2(tagged(path, scale, add) if scale != 1 else path, **given)
    found = scene.read(0, 0, 64, 64)
    np.testing.assert_array_equal(np.isnan(found).any(axis=-1), HOLE)
    np.testing.assert_allclose(found[~HOLE], IMAGE[~HOLE], atol=1e-4)


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [
        (13.4, 52.5, 32633), (151.2, -33.9, 32756), (-180, 10, 32601), (180, 10, 32601),
        (5.3, 60.4, 32632), (2.9, 60.4, 32631), (5.3, 55.9, 32631), (5.3, 64.1, 32631),  # Bergen, and around
        (8.9, 78, 32631), (15.6, 78.2, 32633), (20.9, 78, 32633), (21, 78, 32635), (33, 80, 32637), (42, 80, 32638),
    ],
)  # fmt: skip
def test_utm_zones_are_those_of_the_tiles_of_sentinel_2_in_norway_too(lon, lat, epsg):
    assert utm_of(lon, lat).to_epsg() == epsg
