"""Which band is which: names in every wording of the field, counts that lie, and what cannot be known is refused."""

import numpy as np
import pytest
import rasterio
from geodata import reflectance, write_s2, write_tif

from lczlib.city.bands import ORDERS, band_of, bands_of, physics_warnings
from lczlib.city.rasters import RGB, Sentinel2
from lczlib.data.layout import BANDS

IMAGE = reflectance(64, 64)
ORDER = (6, 0, 9, 1, 8, 2, 7, 3, 5, 4)  # the ten bands shuffled: B8 B2 B12 B3 B11 B4 B8A B5 B7 B6
WORDINGS = {
    "earth search": "blue green red rededge1 rededge2 rededge3 nir nir08 swir16 swir22",
    "zeros": "B02 B03 B04 B05 B06 B07 B08 B8A B11 B12",
    "lower case": "b2 b3 b4 b5 b6 b7 b8 b8a b11 b12",
    "words": "Band 2|Band 3|Band 4|Band 5|Band 6|Band 7|Band 8|Band 8A|Band 11|Band 12",
    "planetary computer": "Band 2 - Blue - 10m|Band 3 - Green - 10m|Band 4 - Red - 10m|"
    "Band 5 - Vegetation red edge 1 - 20m|"
    "Band 6 - Vegetation red edge 2 - 20m|Band 7 - Vegetation red edge 3 - 20m|Band 8 - NIR - 10m|"
    "Band 8A - Vegetation red edge 4 - 20m|Band 11 - SWIR (1.6) - 20m|Band 12 - SWIR (2.2) - 20m",
    "stactools": "Blue (band 2) - 10m|Green (band 3) - 10m|Red (band 4) - 10m|Red edge 1 (band 5) - 20m|"
    "Red edge 2 (band 6) - 20m|Red edge 3 (band 7) - 20m|NIR 1 (band 8) - 10m|NIR 2 (band 8A) - 20m|"
    "SWIR 1 (band 11) - 20m|SWIR 2 (band 12) - 20m",
    "wavelengths": "490 nm|560 nm|665 nm|705 nm|740 nm|783 nm|842 nm|865 nm|1610 nm|2190 nm",
    "gdal": "B2, central wavelength 490 nm|B3, central wavelength 560 nm|B4, central wavelength 665 nm|"
    "B5, central wavelength 705 nm|B6, central wavelength 740 nm|B7, central wavelength 783 nm|"
    "B8, central wavelength 842 nm|B8A, central wavelength 865 nm|B11, central wavelength 1610 nm|"
    "B12, central wavelength 2190 nm",
    "africa": "blue green red red_edge_1 red_edge_2 red_edge_3 nir_1 nir_2 swir_1 swir_2",
    "australia": "nbart_blue nbart_green nbart_red nbart_red_edge_1 nbart_red_edge_2 nbart_red_edge_3 nbart_nir_1 "
    "nbart_nir_2 nbart_swir_2 nbart_swir_3",
    "force": "BLUE GREEN RED REDEDGE1 REDEDGE2 REDEDGE3 BROADNIR NIR SWIR1 SWIR2",
    "numbers": "2 3 4 5 6 7 8 8A 11 12",
    "force, short": "BLU GRN RED RE1 RE2 RE3 BNR NIR SW1 SW2",
    "composite": "B2_p50 B3_p50 B4_p50 B5_median B6_median B7_median B8_median B8A_median B11_median B12_median",
    "dated": "20200601T101031_B2 20200601T101031_B3 20200601T101031_B4 20200601T101031_B5 20200601T101031_B6 "
    "20200601T101031_B7 20200601T101031_B8 20200601T101031_B8A 20200601T101031_B11 20200601T101031_B12",
    "files": "T33UUU_B02_10m.jp2 T33UUU_B03_10m.jp2 T33UUU_B04_10m.jp2 T33UUU_B05_20m.jp2 T33UUU_B06_20m.jp2 "
    "T33UUU_B07_20m.jp2 T33UUU_B08_10m.jp2 T33UUU_B8A_20m.jp2 T33UUU_B11_20m.jp2 T33UUU_B12_20m.jp2",
    "micrometres": "0.490 um|0.56 µm|0.665 μm|0.705 um|0.740 um|0.783 um|0.842 um|0.865 um|1.61 um|2.19 micrometers",
    "acolite": "rhos_492 rhos_560 rhos_665 rhos_704 rhos_740 rhos_783 rhos_833 rhos_865 rhos_1614 rhos_2202",
    "bare wavelengths": "490 560 665 705 740 783 842 865 1610 2190",
    "stac, wavelengths": "blue green red rededge071 rededge075 rededge078 nir nir08 swir16 swir22",
    "stac, prefixed": "eo:blue eo:green eo:red eo:rededge071 eo:rededge075 eo:rededge078 eo:nir eo:nir08 eo:swir16 "
    "eo:swir22",
    "theia": "FRE_B2 FRE_B3 FRE_B4 FRE_B5 FRE_B6 FRE_B7 FRE_B8 FRE_B8A FRE_B11 FRE_B12",
    "collection": " ".join(f"S2L2A_B{n}" for n in ("02", "03", "04", "05", "06", "07", "08", "08A", "11", "12")),
    "season": "B2_summer B3_summer B4_summer B5_summer B6_summer B7_summer B8_summer B8A_summer B11_summer B12_summer",
    "torchgeo": "B2 - Blue|B3 - Green|B4 - Red|B5 - Vegetation red edge|B6 - Vegetation red edge|"
    "B7 - Vegetation red edge|B8 - NIR|B8A - Vegetation red edge|B11 - SWIR|B12 - SWIR",
    "hls": "Blue|Green|Red|Red-Edge 1|Red-Edge 2|Red-Edge 3|NIR Broad|NIR Narrow|SWIR 1|SWIR 2",
    "long": "Blue|Green|Red|Vegetation Red Edge 1|Vegetation Red Edge 2|Vegetation Red Edge 3|Near Infrared|"
    "Narrow Near Infrared|Short Wave Infrared 1|Short Wave Infrared 2",
}


def wording(name):
    return WORDINGS[name].split("|" if "|" in WORDINGS[name] else " ")


@pytest.mark.parametrize("name", [name for name in WORDINGS if name != "numbers"])
def test_a_band_is_known_by_its_name_in_any_wording(name):
    assert bands_of(wording(name)) == list(BANDS)


@pytest.mark.parametrize(
    "name",
    [
        "SCL",
        "AOT",
        "WVP",
        "QA60",
        "MSK_CLDPRB",
        "dataMask",
        "view_zenith_B2",
        "B4_stdDev",
        "NDVI (B8, B4)",
        "cloud mask",
        "Infrared",
        "B13",
        "1200 nm",
        "edge",
        "TCI_R",
        "elevation",
        "tree cover",
        "saturation_B4",
        "ndre1",
        "B2 uncertainty",
        "B4_error",
        "redness",
        "red roofs",
        "green index",
        "1.2 um",
        "year 2020",
    ],
)
def test_what_is_no_band_of_sentinel_2_is_not_taken_for_one(name):
    assert band_of(name) == ""


@pytest.mark.parametrize("name", ["earth search", "planetary computer", "australia", "force", "wavelengths", "numbers"])
def test_bands_in_another_order_are_put_right_by_their_names(tmp_path, name):
    names = [wording(name)[place] for place in ORDER] + ["SCL"]
    stored = [BANDS[place] for place in ORDER] + ["SCL"]
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", IMAGE, names=stored, descriptions=names))
    np.testing.assert_array_equal(scene.read(0, 0, 64, 64), IMAGE)
    assert not [note for note in scene.notes + scene.warnings if "order" in note]


def test_names_in_tags_and_as_option_count_too(tmp_path):
    stored = [BANDS[place] for place in ORDER]
    path = write_s2(tmp_path / "s2.tif", IMAGE, names=stored)
    given = Sentinel2(path, bands=[wording("earth search")[place] for place in ORDER])
    np.testing.assert_array_equal(given.read(0, 0, 64, 64), IMAGE)
    with rasterio.open(path, "r+") as file:
        for number, name in enumerate(stored, start=1):
            file.update_tags(number, BANDNAME=name)
    np.testing.assert_array_equal(Sentinel2(path).read(0, 0, 64, 64), IMAGE)


def classes(kind):
    rng = np.random.default_rng(0)
    coarse = rng.integers(3, 12, (8, 8)).repeat(8, 0).repeat(8, 1)
    return {"scl": coarse, "mask": coarse > 5, "percent": rng.integers(0, 101, (64, 64))}[kind]


@pytest.mark.parametrize(
    ("bands", "extra"),
    [
        (10, ["scl", "mask"]),
        (10, ["scl"]),
        (12, ["scl"]),
        (13, ["mask"]),
        (13, ["scl", "mask"]),
        (10, ["percent", "scl", "mask"]),
    ],
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_masks_and_classes_do_not_count_as_bands(tmp_path, bands, extra, dtype):
    dn = dtype == "uint16"
    image = np.repeat(np.repeat(IMAGE, 2, 0), 2, 1) * np.random.default_rng(2).uniform(0.99, 1.01, (128, 128, 1))
    path = write_s2(tmp_path / "bands.tif", image.astype(np.float32), dtype, dn, names=ORDERS[bands])
    with rasterio.open(path) as file:
        stored = file.read()
    layers = [np.repeat(np.repeat(classes(kind), 2, 0), 2, 1).astype(dtype) for kind in extra]
    scene = Sentinel2(write_tif(tmp_path / "s2.tif", np.stack([*stored, *layers])))
    np.testing.assert_allclose(scene.read(0, 0, 64, 64), image[:64, :64], atol=6e-5)
    assert any("order assumed: B" in note and "B2 B3 B4" in note for note in scene.notes)


def test_level_1c_with_an_empty_cirrus_band_is_level_2a(tmp_path):
    path = write_s2(tmp_path / "s2.tif", IMAGE, names=ORDERS[13])
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros((64, 64), np.float32), 11)
    np.testing.assert_array_equal(Sentinel2(path).read(0, 0, 64, 64), IMAGE)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([*ORDERS[12], "B3"], "bands missing"),  # thirteen, the last no mask: which one is too much?
        (("B1", *BANDS), "bands missing"),
        (BANDS[:8], "bands missing"),
        ([*ORDERS[13][:8], "B9", "B10", "B11", "B12", "B8A"], "bands missing"),  # EuroSAT's order
    ],
)
def test_without_names_an_order_that_cannot_be_known_is_refused(tmp_path, names, says):
    with pytest.raises(ValueError, match=says):
        Sentinel2(write_s2(tmp_path / "s2.tif", IMAGE, names=names))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("SR_B2 SR_B3 SR_B4 SR_B5 SR_B6 SR_B7", "bands missing"),  # Landsat
        ("coastal_blue blue green_i green yellow red rededge nir", "bands missing"),  # SuperDove
        ("0_B2 1_B2 B3 B4 B5 B6 B7 B8 B8A B11 B12", "'0_B2' and '1_B2' both mean B2"),
        ("B1 B2 B3 B4 B5 B6 B7 B8 B9 B10", "bands missing"),
        ("B2 B3 B4 B4 B6 B7 B8 B8A B11 B12", "bands missing .B5; the file has 10 bands, B4 more than once"),
    ],
)
def test_names_that_do_not_give_the_ten_bands_are_refused(tmp_path, names, says):
    names = names.split()
    image = np.random.default_rng(0).uniform(0, 0.4, (len(names), 40, 40)).astype(np.float32)
    with pytest.raises(ValueError, match=says):
        Sentinel2(write_tif(tmp_path / "s2.tif", image, descriptions=names))


@pytest.mark.parametrize(
    "names",
    [
        None,
        [f"Band {n}" for n in range(1, 11)],
        [f"s2_{n}" for n in range(1, 11)],
        list("abcdefghij"),
    ],
)
def test_every_file_without_names_says_which_order_was_assumed(tmp_path, names):
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", IMAGE, descriptions=names))
    said = [line for line in scene.notes + scene.warnings if "order assumed: B2 B3 B4 B5 B6 B7 B8 B8A B11 B12" in line]
    assert len(said) == 1
    assert (said[0] in scene.warnings) == (names == list("abcdefghij"))  # names were there, but say nothing
    dark = Sentinel2(write_s2(tmp_path / "dark.tif", IMAGE * 0.1))
    assert any("no vegetation in the sample to check it by" in warning for warning in dark.warnings)


@pytest.mark.parametrize(
    "order",
    [
        (0, 1, 2, 6, 3, 4, 5, 7, 8, 9),
        (2, 1, 0, 3, 4, 5, 6, 7, 8, 9),
        (0, 1, 2, 3, 4, 5, 6, 8, 9, 7),
        (*range(9, -1, -1),),
        (0, 1, 6, 7, 2, 3, 4, 5, 8, 9),
    ],
)
def test_a_wrong_order_without_names_is_warned_of(tmp_path, order):
    scene = Sentinel2(write_s2(tmp_path / "s2.tif", IMAGE[..., list(order)]))
    assert any("the band order looks wrong" in warning or "no vegetation" in warning for warning in scene.warnings)


def test_the_scene_itself_is_plausible():
    assert physics_warnings(IMAGE.reshape(-1, 10)) == []


RGB_NAMES = {
    "WorldView": (["Coastal", "Blue", "Green", "Yellow", "Red", "RedEdge", "NIR1", "NIR2"], [5, 3, 2]),
    "WorldView, short": (["C", "B", "G", "Y", "R", "RE", "N", "N2"], [5, 3, 2]),
    "WorldView, with spaces": (
        ["Coastal Blue", "Blue", "Green", "Yellow", "Red", "Red Edge", "NIR 1", "NIR 2"],
        [5, 3, 2],
    ),
    "SuperDove": (["coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"], [6, 4, 2]),
    "RapidEye": (["blue", "green", "red", "red_edge", "nir"], [3, 2, 1]),
    "infra-red first": (["Near infra-red", "red", "green", "blue"], [2, 3, 4]),
}


@pytest.mark.parametrize("sensor", RGB_NAMES)
def test_red_green_and_blue_are_found_among_their_neighbours(tmp_path, sensor):
    names, places = RGB_NAMES[sensor]
    values = np.random.default_rng(0).integers(100, 2000, (len(names), 50, 50)).astype(np.uint16)
    image = RGB(write_tif(tmp_path / "rgb.tif", values, pixel=2, descriptions=names))
    assert image.indexes == places
    assert not any("order" in note for note in image.notes)


def test_colours_without_names_are_assumed_aloud_or_asked_for(tmp_path):
    values = np.random.default_rng(0).integers(100, 2000, (8, 50, 50)).astype(np.uint16)
    four = RGB(write_tif(tmp_path / "four.tif", values[:4], pixel=2))
    assert (four.indexes, "order assumed" in four.notes[0]) == ([3, 2, 1], True)
    for name, bands, names in (("eight", 8, None), ("cir", 3, ["NIR", "Red", "Green"])):
        with pytest.raises(ValueError, match=r"red, green, blue\? tell it with --rgb-bands"):
            RGB(write_tif(tmp_path / f"{name}.tif", values[:bands], pixel=2, descriptions=names))
    assert RGB(tmp_path / "eight.tif", bands=[5, 3, 2]).indexes == [5, 3, 2]
