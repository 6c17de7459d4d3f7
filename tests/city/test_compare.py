"""Comparing a map with others, with polygons, with points."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from geodata import LEFT, TOP, UTM33, layout, read, square, write_areas, write_tif
from rasterio.warp import transform
from shapely.geometry import box

from lczlib.city import write_copies
from lczlib.city.compare import compare_maps, majority, score_polygons, window_purity, zones_at
from lczlib.city.polygons import read_polygons
from lczlib.errors import InputError
from lczlib.zones import ZONES, to_old_codes, to_wrf_codes


def other_map(path, labels, **profile):
    return write_tif(path, labels[None], pixel=100.0, **profile)


@pytest.mark.parametrize(("recode", "profile"), [
    (lambda labels: labels, {}), (to_wrf_codes, {}), (to_old_codes, {}),
    (lambda labels: labels.astype(np.int16), {"nodata": -9999}),
    (lambda labels: labels.astype(np.float32), {"nodata": float("nan")}),
    (lambda labels: labels.astype(np.float64), {}), (lambda labels: labels, {"untagged": 255}),
    (lambda labels: labels.astype(np.int16), {"untagged": -9999}),
])  # fmt: skip
def test_maps_agree_in_every_notation_and_type(blocky, tmp_path, recode, profile):
    _, _, result = blocky
    profile = dict(profile)
    theirs = recode(read(result.path, 2)).copy()
    theirs[0] = profile.pop("untagged", 0) or profile.get("nodata", 0)
    found = compare_maps(result.path, other_map(tmp_path / "o.tif", theirs, **profile))
    assert found.scores["oa"] == found.scores["kappa"] == found.scores["oa_w"] == 1
    assert found.pixels == 24 * 31
    agreement = read(found.agreement)
    assert (agreement[0] == 0).all()
    assert (agreement[1:] == 2).all()


def test_a_map_counted_from_0_is_warned_of(tmp_path):
    mine = layout(20, 20)
    from_0 = other_map(tmp_path / "o.tif", np.where(mine == 3, 255, mine - 1), nodata=255)
    found = str(compare_maps(other_map(tmp_path / "a.tif", mine), from_0))
    assert "warning: the other map looks counted from 0: with 1 added to its zones oa is 1.000" in found
    noisy = other_map(tmp_path / "n.tif", layout(20, 20, seed=1))
    assert "warning" not in str(compare_maps(tmp_path / "a.tif", noisy))


@pytest.mark.parametrize("tag", [1, 17, 107])
def test_a_zone_that_is_tagged_as_no_data_is_warned_of(tmp_path, tag):
    mine = layout(20, 20)
    theirs = to_old_codes(mine) if tag > 100 else mine
    found = compare_maps(
        other_map(tmp_path / "a.tif", mine, nodata=0), other_map(tmp_path / "o.tif", theirs, nodata=tag)
    )
    assert f"no data is {tag}, which is a zone too" in str(found)
    assert found.pixels == (theirs != tag).sum()


def test_rows_are_the_other_map_and_disagreement_is_drawn(tmp_path):
    mine, theirs = np.full((10, 10), 2, np.uint8), np.full((10, 10), 2, np.uint8)
    theirs[:5] = 5
    found = compare_maps(other_map(tmp_path / "a.tif", mine), other_map(tmp_path / "b.tif", theirs))
    assert found.matrix[4, 1] == 50
    assert found.scores["oa"] == 0.5
    assert (read(found.agreement)[:5] == 1).all()
    assert "LCZ 5: 50 there, 0 here" in str(found)


def test_a_map_in_another_crs_is_compared_by_nearest_neighbour(tmp_path):
    labels = np.kron(layout(5, 6), np.ones((8, 8), np.uint8))
    mine = write_tif(tmp_path / "a.tif", np.stack([labels] * 3), pixel=100.0)
    found = compare_maps(mine, write_copies(mine, epsg4326=True)[0])
    assert found.scores["oa"] > 0.93
    assert found.pixels > 0.98 * labels.size


@pytest.mark.parametrize("west", [179.5, -180.5])
def test_a_map_across_180_degrees_is_compared_whole(tmp_path, west):
    """A map in UTM 1 with another in longitudes that run past 180 degrees: both halves are compared."""
    x, y = transform("EPSG:4326", "EPSG:32701", [179.6], [-17.1])
    here = write_tif(tmp_path / "here.tif", np.full((1, 40, 800), 6, np.uint8), crs="EPSG:32701", left=x[0], top=y[0],
                     pixel=100)  # fmt: skip
    zones = np.full((1, 200, 1000), 6, np.uint8)
    zones[..., 500:] = 11  # east of 180 degrees
    other = write_tif(tmp_path / "other.tif", zones, crs="EPSG:4326", left=west, top=-17, pixel=0.001)
    result = compare_maps(here, other)
    assert result.pixels > 0.95 * 40 * 800
    west_of_180 = int(result.matrix[5, 5])
    assert 0.4 < west_of_180 / result.pixels < 0.65
    assert west_of_180 + int(result.matrix[10, 5]) == result.pixels


@pytest.mark.parametrize(("crs", "west"), [("EPSG:4326", 179.5), ("EPSG:4326", -180.5),
                                           ("EPSG:32701", None)])  # fmt: skip
def test_points_polygons_and_maps_meet_on_a_map_across_180_degrees(tmp_path, crs, west):
    """Zones 6 west of 180 degrees, 11 east of it; points on both sides, whatever their longitudes are counted from."""
    zones = np.full((1, 200, 1000), 6, np.uint8)
    zones[..., 500:] = 11
    if west is None:
        x, y = transform("EPSG:4326", crs, [179.5], [-17.0])
        zones[..., 500:] = 6
        zones[..., 532:] = 11  # pixels of 100 m
        path = write_tif(tmp_path / "m.tif", zones, crs=crs, left=x[0], top=y[0], pixel=100)
    else:
        path = write_tif(tmp_path / "m.tif", zones, crs=crs, left=west, top=-17, pixel=0.001)
    (tmp_path / "s.csv").write_text("lon,lat\n179.7,-17.1\n180.3,-17.1\n-179.7,-17.1\n-180.3,-17.1\n178,-17.1\n")
    assert zones_at(path, tmp_path / "s.csv")["lcz"].tolist() == ["6", "A", "A", "6", ""]
    boxes = [(6, box(179.6, -17.15, 179.8, -17.05)), (11, box(-179.8, -17.15, -179.6, -17.05))]
    areas = read_polygons(write_areas(tmp_path / "a.geojson", boxes, crs="EPSG:4326"))[0]
    assert score_polygons(path, areas)["oa"] == 1
    x, y = transform("EPSG:4326", "EPSG:32701", [179.6], [-17.05])
    other = write_tif(tmp_path / "o.tif", np.full((1, 100, 800), 6, np.uint8), crs="EPSG:32701", left=x[0], top=y[0],
                      pixel=100)  # fmt: skip
    found = compare_maps(path, other)
    assert found.matrix[5, 5] > 0.35 * found.pixels < 3 * found.matrix[5, 10]
    assert found.pixels * (1 if west is None else 1.15) == pytest.approx(80_000, rel=0.1)


def test_majority_and_purity_tell_pure_places_from_transitions():
    zones = np.full((160, 160), 6, np.uint8)
    zones[:, 95:] = 17
    commonest, share = majority(zones, 10)
    assert (commonest[:, :9] == 6).all()
    assert (commonest[:, 10:] == 17).all()
    assert share[0, 9] == 0.5
    purity = window_purity(zones, 10)
    assert (purity[:, :7] == 1).all()
    assert (purity[:, 9] < 0.7).all()


def test_a_map_is_scored_inside_polygons(tmp_path):
    labels = np.full((10, 10), 2, np.uint8)
    labels[:, 5:] = 5
    path = write_tif(tmp_path / "m.tif", labels[None], pixel=100.0)
    areas = write_areas(tmp_path / "a.geojson", [("2", square(0, 0, 400)), ("5", square(300, 500, 400))])
    found = score_polygons(path, read_polygons(areas)[0], band=1)
    assert found["n"] == 32
    assert found["oa"] == pytest.approx(24 / 32)
    assert found["found"] == {"2": {"2": 1.0}, "5": {"2": 0.5, "5": 0.5}}
    far = write_areas(tmp_path / "far.geojson", [("2", square(9e4, 0, 400))])
    with pytest.raises(ValueError, match="no polygon lies on this map"):
        score_polygons(path, read_polygons(far)[0], band=1)


def test_maps_that_cannot_be_compared_say_why(tmp_path):
    mine = other_map(tmp_path / "a.tif", layout(9, 9))
    strange = layout(9, 9)
    strange[3, 3] = 55
    with pytest.raises(ValueError, match=r"b\.tif: values \[55\] are no Local Climate Zones; .*recode"):
        compare_maps(mine, other_map(tmp_path / "b.tif", strange))
    with pytest.raises(ValueError, match="no pixel in common"):
        compare_maps(mine, other_map(tmp_path / "c.tif", layout(9, 9), left=LEFT + 9e4))
    with pytest.raises(ValueError, match="no coordinate reference system"):
        compare_maps(mine, other_map(tmp_path / "d.tif", layout(9, 9), crs=None))
    with pytest.raises(ValueError, match=r"has 1 band\(s\), no number 4"):
        compare_maps(mine, mine, band=4)
    with pytest.raises(ValueError, match="no number 0"):
        compare_maps(mine, mine, band=0)


@pytest.mark.parametrize(("names", "order", "bands"), [
    (("lcz", "lczFilter", "classProbability"), "rsp", ("lczFilter", "lczFilter")),
    (("probability", "lcz_filtered", "lcz"), "psr", ("lczFilter", "lcz_filtered")),
    (None, "rsp", ("lczFilter", "band 2")),
    (("LCZ_Filter", "LCZ", "LCZ_Probability"), "srp", ("lczFilter", "LCZ_Filter")),
    (("lcz", "probability"), "rp", ("lcz", "lcz")),
    (("LCZ",), "s", ("lczFilter", "LCZ")),
    (("class probability of the lcz", "zones"), "ps", ("lczFilter", "zones")),
    (None, "prs", ("lczFilter", "band 3")),
    (("prob", "lcz", "lczFilter"), "prs", ("lczFilter", "lczFilter")),
])  # fmt: skip
def test_like_is_compared_with_like(tmp_path, names, order, bands):
    rng = np.random.default_rng(0)
    smooth = np.kron(layout(5, 6), np.ones((8, 8), np.uint8))
    held = {"s": smooth, "r": np.where(rng.random(smooth.shape) < 0.2, layout(40, 48, 1), smooth)}
    held["p"] = rng.integers(20, 101, smooth.shape).astype(np.uint8)
    own = ("lcz", "lczFilter", "probability")
    mine = write_tif(tmp_path / "a.tif", np.stack([held[b] for b in "rsp"]), pixel=100.0, descriptions=own)
    theirs = write_tif(tmp_path / "b.tif", np.stack([held[b] for b in order]), pixel=100.0, descriptions=names)
    found = compare_maps(mine, theirs)
    assert found.bands == bands
    assert found.scores["oa"] == 1
    assert f"{bands[0]} here with {bands[1]} there" in str(found)


def test_the_agreement_has_a_legend_and_provenance(tmp_path):
    mine = other_map(tmp_path / "a.tif", layout(9, 9))
    found = compare_maps(mine, mine)
    assert "agrees" in found.agreement.with_suffix(".qml").read_text()
    assert (tmp_path / "a_agreement.tif.aux.xml").exists()
    with rasterio.open(found.agreement) as data:
        assert data.tags()["other"].startswith(str(mine))


@pytest.fixture
def stations(tmp_path):
    """A map of 10 x 10 pixels, and two points on it and one outside in degrees."""
    labels = layout(10, 10)
    path = write_tif(tmp_path / "m.tif", np.stack([labels, labels, np.full_like(labels, 70)]), pixel=100.0, nodata=0,
                     descriptions=("lcz", "lczFilter", "probability"))  # fmt: skip
    x, y = [LEFT + 50, LEFT + 950, LEFT + 5e4], [TOP - 50, TOP - 350, TOP]
    lon, lat = transform(UTM33, "EPSG:4326", x, y)
    return labels, path, pd.DataFrame({"name": list("abc"), "lon": lon, "lat": lat}), pd.DataFrame({"x": x, "y": y})


@pytest.mark.parametrize("columns", [("lon", "lat"), ("Longitude", "Latitude"), ("x", "y")])
@pytest.mark.parametrize("separator", [",", ";"])
def test_zones_and_probability_at_points(stations, tmp_path, columns, separator):
    labels, path, degrees, metres = stations
    table = metres if columns[0] == "x" else degrees.set_axis(["name", *columns], axis=1)
    table.to_csv(tmp_path / "s.csv", index=False, sep=separator)
    found = zones_at(path, tmp_path / "s.csv")
    wanted = [ZONES[labels[0, 0] - 1], ZONES[labels[3, 9] - 1]]
    assert found["lcz"].tolist() == [zone.code for zone in wanted] + [""]
    assert found["lcz_name"].tolist() == [zone.name for zone in wanted] + [""]
    assert found["probability"].tolist()[:2] == [0.7, 0.7]
    assert np.isnan(found["probability"][2])


def test_a_table_of_stations_comes_back_as_it_was_written(stations, tmp_path):
    x, y = LEFT + 50, TOP - 50
    text = f"id,x,y,height,note\n00433,{x:.1f},{y:.2f},1.10,NA\n1e5,{x},{y},,\n"
    (tmp_path / "s.csv").write_text(text, encoding="utf-8-sig")
    found = zones_at(stations[1], tmp_path / "s.csv").drop(columns=["lcz", "lcz_name", "probability"])
    assert found.to_csv(index=False) == text


def test_the_probability_at_a_point_is_that_of_the_zone_beside_it(tmp_path):
    winners, filtered = np.full((4, 4), 6, np.uint8), np.full((4, 4), 6, np.uint8)
    winners[0, 1] = 2
    path = write_tif(tmp_path / "m.tif", np.stack([winners, filtered, np.full_like(winners, 70)]), pixel=100.0,
                     nodata=0, descriptions=("lcz", "lczFilter", "probability"))  # fmt: skip
    (tmp_path / "s.csv").write_text(f"x,y\n{LEFT + 50},{TOP - 50}\n{LEFT + 150},{TOP - 50}\n")
    found = zones_at(path, tmp_path / "s.csv")
    assert found["lcz"].tolist() == ["6", "6"]
    np.testing.assert_array_equal(found["probability"], [0.7, np.nan])


@pytest.mark.parametrize(("text", "says"), [
    ("name,lon,lat\nBerlin, Mitte,13.29,52.51\n", "as many fields in every line"),
    ("lon,lat,lcz\n13.2,52.5,6\n", "has a column lcz already"),
    ("name,east\na,1\n", "no columns lon, lat or x, y among name, east"),
    ("lon,lat\n13.2,52.5\n13.2,north\n", "line 3: lon, lat are no numbers"),
    ("lon,lat\n384000,5820000\n", "are no degrees"),
    ("lon,lat\n0,0\n", "no station lies on"),
    ("", "no table that can be read"),
])  # fmt: skip
def test_stations_that_cannot_be_used_say_why(stations, tmp_path, text, says):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        zones_at(stations[1], tmp_path / "s.csv")
