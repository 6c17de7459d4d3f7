"""Training areas: every format, every notation, and each fault named in one line."""

import zipfile

import geopandas as gpd
import pytest
from geodata import square, write_areas
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon

from lczlib.city.polygons import read_polygons

BOWTIE = Polygon([(13, 52), (13.01, 52.01), (13.01, 52), (13, 52.01)])


def placemark(name, x, y=52.5):
    ring = " ".join(f"{x + dx},{y + dy},0" for dx, dy in ((0, 0), (0.01, 0), (0.01, 0.01), (0, 0.01), (0, 0)))
    outer = f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs>"
    return f"<Placemark><name>{name}</name><Polygon>{outer}</Polygon></Placemark>"


def kml(body):
    head = '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
    return f"{head}<name>training</name>{body}</Document></kml>"


def folders(names):
    return "".join(
        f"<Folder><name>{name}</name>{placemark('a', 13 + i / 50)}{placemark('b', 13 + i / 50, 52.6)}</Folder>"
        for i, name in enumerate(names)
    )


@pytest.mark.parametrize("body", [
    folders(["1", "2", "101", "A", "17"]),
    "<Folder><name>Training areas</name>" + folders(["1", "2", "101", "A", "17"]) + "</Folder>",
    folders(["LCZ 1", "LCZ 2: Compact midrise", "LCZ A - Dense trees", "Dense trees", "G"]) + "<Folder/>",
])  # fmt: skip
def test_wudapt_kml_has_one_folder_per_class(tmp_path, body):
    path = tmp_path / "areas.kml"
    path.write_text(kml(body))
    frame, _ = read_polygons(path, city="Berlin")
    assert frame["label"].tolist() == [1, 1, 2, 2, 11, 11, 11, 11, 17, 17]
    assert frame["polygon"].tolist()[4:8] == [f"Berlin/LCZ-A/0{n}" for n in (1, 2, 3, 4)]
    assert frame["area_km2"].between(0.74, 0.77).all()  # 0.01 degrees at 52.5 N, measured in UTM


def test_zone_names_are_read_in_any_spelling(tmp_path):
    path = tmp_path / "areas.kml"
    path.write_text(kml(folders(["Compact highrise", "LCZ 2 (Compact mid-rise)", "bush scrub", "LCZ G Water"])))
    assert read_polygons(path)[0]["label"].tolist() == [1, 1, 2, 2, 13, 13, 17, 17]


def test_the_data_of_placemarks_may_carry_the_class(tmp_path):
    path = tmp_path / "areas.kml"
    data = '<ExtendedData><Data name="lcz"><value>D</value></Data></ExtendedData>'
    body = placemark("park", 13).replace("</name>", f"</name>{data}")
    path.write_text(kml(f"<Folder><name>Areas</name>{body}</Folder>"))
    assert read_polygons(path)[0]["label"].tolist() == [14]


def test_kmz_and_placemarks_that_carry_the_class(tmp_path):
    path = tmp_path / "areas.kmz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "doc.kml", kml("<Folder><name>Areas</name>" + placemark("LCZ 6", 13) + placemark("104", 13.1) + "</Folder>")
        )
    assert read_polygons(path)[0]["label"].tolist() == [6, 14]


@pytest.mark.parametrize("suffix", ["geojson", "shp", "gpkg"])
@pytest.mark.parametrize(
    "codes", [[1, 10, 11, 17], [1, 10, 101, 107], ["1", "10", "A", "G"], ["LCZ 1", "lcz_10", "LCZ A", "LCZ G"]]
)
def test_every_format_and_notation(tmp_path, suffix, codes):
    rows = [(code, square(1000 * i, 0, 400)) for i, code in enumerate(codes)]
    frame, notes = read_polygons(write_areas(tmp_path / f"a.{suffix}", rows, to_crs="EPSG:4326"), city="x")
    assert frame["label"].tolist() == [1, 10, 11, 17]
    assert frame["area_km2"].tolist() == pytest.approx([0.16] * 4, rel=1e-3)
    assert notes == ["class column 'lcz'"]


def test_city_column_wins_and_the_class_column_can_be_named(tmp_path):
    frame = gpd.GeoDataFrame(
        {"Typ": ["D", "D"], "city": ["a", "b"]}, geometry=[square(0, 0, 9), square(50, 0, 9)], crs=32633
    )
    frame.to_file(tmp_path / "a.gpkg")
    read, _ = read_polygons(tmp_path / "a.gpkg", column="typ", city="ignored")
    assert read["polygon"].tolist() == ["a/LCZ-D/01", "b/LCZ-D/01"]
    frame.assign(city=["a", None]).to_file(tmp_path / "b.gpkg")
    read, _ = read_polygons(tmp_path / "b.gpkg", column="typ", city="given")
    assert read["polygon"].tolist() == ["a/LCZ-D/01", "given/LCZ-D/01"]


def test_the_column_and_layer_that_hold_zones_are_found(tmp_path):
    here = {"geometry": [square(0, 0, 9), square(50, 0, 9)], "crs": 32633}
    gpd.GeoDataFrame({"owner": ["x", "y"]}, **here).to_file(tmp_path / "a.gpkg", layer="parcels")
    gpd.GeoDataFrame({"class": ["training"] * 2, "code": [2, 101]}, **here).to_file(tmp_path / "a.gpkg", layer="areas")
    assert read_polygons(tmp_path / "a.gpkg")[0]["label"].tolist() == [2, 11]


def test_geometry_is_mended_taken_apart_or_named(tmp_path):
    two = MultiPolygon([Point(13.1, 52).buffer(0.01), Point(13.2, 52).buffer(0.01)])
    mixed = GeometryCollection([Point(13.3, 52).buffer(0.01), LineString([(13, 52), (14, 52)])])
    rows = [("2", BOWTIE), ("3", two), ("4", Polygon()), ("5", Point(13, 52)), ("6", mixed)]
    frame, notes = read_polygons(write_areas(tmp_path / "a.geojson", rows, crs="EPSG:4326"))
    assert frame["label"].tolist() == [2, 2, 3, 3, 6]
    assert frame.geometry.is_valid.all()
    assert any("polygon 1 (LCZ 2) mended" in note for note in notes)
    assert any("polygon 3 (LCZ 4) left out: it is empty" in note for note in notes)
    assert any("polygon 4 (LCZ 5) left out: a Point has no area" in note for note in notes)


def faulty_class(folder):
    return write_areas(folder / "a.geojson", [("urban", square(0, 0, 9))])


def code_out_of_range(folder):
    return write_areas(folder / "a.gpkg", [(18, square(0, 0, 9))])


def no_column(folder):
    return write_areas(folder / "a.geojson", [("2", square(0, 0, 9))], column="colour")


def no_crs(folder):
    path = write_areas(folder / "a.shp", [("2", square(0, 0, 9))])
    path.with_suffix(".prj").unlink()
    return path


def not_a_vector(folder):
    (folder / "a.geojson").write_text("hello")
    return folder / "a.geojson"


def broken_kml(folder):
    (folder / "a.kml").write_text(kml(folders(["1"]))[:200])
    return folder / "a.kml"


def empty_kml(folder):
    (folder / "a.kml").write_text(kml(""))
    return folder / "a.kml"


def a_folder(folder):
    return folder


def only_points(folder):
    return write_areas(folder / "a.geojson", [("2", Point(13, 52))], crs="EPSG:4326")


def folder_of_no_zone(folder):
    (folder / "a.kml").write_text(kml(folders(["ROI", "2"])))
    return folder / "a.kml"


@pytest.mark.parametrize(("make", "says"), [
    (faulty_class, "class 'urban' is no Local Climate Zone"),
    (code_out_of_range, "class '18' is no Local Climate Zone"),
    (no_column, "no class column among colour; name it with --class-column"),
    (no_crs, "no coordinate reference system"),
    (not_a_vector, "not readable as polygons"), (broken_kml, "readable as"), (only_points, "no usable polygon"),
    (folder_of_no_zone, "class 'ROI/a' is no Local Climate Zone"), (empty_kml, "no geometry"),
    (a_folder, "not readable as polygons"),
])  # fmt: skip
def test_each_fault_is_one_line_with_a_remedy(tmp_path, make, says):
    path = make(tmp_path)
    with pytest.raises(ValueError, match="; ") as fault:
        read_polygons(path)
    assert says in str(fault.value)
    assert str(fault.value).startswith(str(path))
    assert "\n" not in str(fault.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.kml: no such file; give"):
        read_polygons(tmp_path / "none.kml")
