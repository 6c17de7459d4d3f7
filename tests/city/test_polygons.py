"""Training areas: every format, every notation, and each fault named in one line."""

import zipfile

import geopandas as gpd
import pytest
from geodata import square, write_areas
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon

from lczlib.city.polygons import read_polygons, zone_of
from lczlib.errors import InputError

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


@pytest.mark.parametrize(
    "body",
    [
        folders(["1", "2", "101", "A", "17"]),
        "<Folder><name>Training areas</name>" + folders(["1", "2", "101", "A", "17"]) + "</Folder>",
        folders(["LCZ 1", "LCZ 2: Compact midrise", "LCZ A - Dense trees", "Dense trees", "G"]) + "<Folder/>",
    ],
)
def test_wudapt_kml_has_one_folder_per_class(tmp_path, body):
    path = tmp_path / "areas.kml"
    path.write_text(kml(body))
    frame, _ = read_polygons(path, city="Berlin")
    assert frame["label"].tolist() == [1, 1, 2, 2, 11, 11, 11, 11, 17, 17]
    assert frame["polygon"].tolist()[4:8] == [f"Berlin/LCZ-A/0{n}" for n in (1, 2, 3, 4)]
    assert (frame.to_crs(32633).area / 1e6).between(0.74, 0.77).all()  # 0.01 degrees at 52.5 N, measured in UTM


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
    assert (frame.to_crs(32633).area / 1e6).tolist() == pytest.approx([0.16] * 4, rel=2e-3)
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


SPELLINGS = {
    1: "1|01|1.0|LCZ 1|LCZ1|lcz_1|LCZ-01|LCZ 1: Compact high-rise|LCZ 1 Compact high-rise|Compact highrise|"
    "compact high rise|"
    "Compact High-Rise (LCZ 1)|1 - Compact highrise|LCZ 1 - Compact high-rise|1. Compact high-rise|Class 1|Zone 1",
    2: "2|LCZ 2|Compact mid-rise|Compact midrise|2: Compact mid rise|LCZ2_Compact_midrise",
    3: "Compact low-rise|LCZ 3 (Compact lowrise)",
    4: "Open high-rise|Open highrise|open_highrise",
    5: "Open mid-rise",
    6: "Open low-rise|Open lowrise|LCZ_6 Open low-rise",
    7: "Lightweight low-rise|Lightweight lowrise|light weight low rise",
    8: "Large low-rise|Large lowrise|8_large_low_rise",
    9: "Sparsely built|sparsely built-up|LCZ 9 Sparsely Built",
    10: "10|LCZ 10|Heavy industry|Heavy Industry (LCZ 10)",
    11: "11|101|A|a|LCZ A|lcz_a|LCZ 11|LCZ101|Dense trees (LCZ A)|A: Dense trees|A. Dense trees|LCZ A - Dense trees|"
    "Dense Trees|"
    "LCZ 101 Dense trees|11 Dense trees|101.0",
    12: "B|Scattered trees|Scattered tree|LCZ B (Scattered trees)",
    13: "C|103|Bush, scrub|Bush/scrub|Bush or scrub|C Bush, scrub",
    14: "d|LCZ_D|104|14|Low plants|Low Plants (LCZ D)",
    15: "E|Bare rock or paved|Bare rock / paved|Rock and paved|LCZ E",
    16: "F|Bare soil or sand|Bare soil, sand|106",
    17: "17|G|107|Water|LCZ G: Water|water bodies|G - Water",
}


@pytest.mark.parametrize("label", SPELLINGS)
def test_a_zone_is_known_in_every_wording_of_the_legends(label):
    assert {text: zone_of(text) for text in SPELLINGS[label].split("|")} == dict.fromkeys(
        SPELLINGS[label].split("|"), label
    )


@pytest.mark.parametrize(
    "text",
    [
        "18",
        "0",
        "-1",
        "2.5",
        "108",
        "100",
        "H",
        "ROI",
        "urban",
        "",
        "LCZ",
        "3B",
        "LCZ 6(5)",
        "2_01",
        "LCZ 3: Open midrise",
        "Dense trees (LCZ B)",
        "Waterloo",
        "Sandy Hill",
        "training",
        "Rock Creek",
        "1-3",
        "Compact",
        "51",
        "None",
    ],
)
def test_what_names_no_zone_or_two_is_none(text):
    assert zone_of(text) is None


def table(path, columns, geometry=None):
    number = len(next(iter(columns.values())))
    shapes = geometry or [square(600 * i, 0, 400) for i in range(number)]
    gpd.GeoDataFrame(columns, geometry=shapes, crs=32633).to_file(path)
    return path


ZONES, RUNNING = [2, 2, 5, 5, 14], [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (
            {"LCZ_PRIMARY": ZONES, "LCZ_SECONDARY": [1, 1, 1, 1, 1], "LCZ_UNIQUENESS_VALUE": [0.1, 0.2, 0.3, 0.4, 0.5]},
            "LCZ_PRIMARY",
        ),
        ({"ID": RUNNING, "DN": ZONES}, "DN"),
        ({"EU_LCZ_map": ZONES, "value": RUNNING}, "EU_LCZ_map"),
        ({"name": RUNNING, "lcz": ZONES}, "lcz"),
        ({"code": RUNNING, "Class": ZONES}, "Class"),
        ({"gridcode": ZONES, "Id": RUNNING}, "gridcode"),
        ({"Name": ["2", "2", "5", "5", "D"], "fid_1": RUNNING}, "Name"),
        ({"name": list("vwxyz"), "value": ZONES}, "value"),
        ({"LCZ_2020": ZONES, "class": RUNNING}, "LCZ_2020"),
        ({"lcz": ZONES, "lcz_old": RUNNING}, "lcz"),
        ({"lcz": [None] * 5, "class": ZONES}, "class"),
        ({"lcz_id": RUNNING, "lcz_name": ["Compact midrise", "LCZ 2", "Open midrise", "5", "Low plants"]}, "lcz_name"),
        ({"class_name": ["Compact midrise", "2", "5", "LCZ 5", "d"], "code": RUNNING}, "class_name"),
    ],
)
def test_the_class_column_is_chosen_by_name_and_said(tmp_path, columns, chosen):
    frame, notes = read_polygons(table(tmp_path / "a.gpkg", columns))
    assert frame["label"].tolist() == ZONES
    assert notes == [f"class column {chosen!r}"]


@pytest.mark.parametrize("empty", [None, float("nan"), "", "  ", "NULL", 0])
def test_one_empty_class_never_hands_over_to_another_column(tmp_path, empty):
    text = isinstance(empty, str)
    zones = [str(zone) if text else zone for zone in [2, 2, 5, 5]] + [empty]
    frame, notes = read_polygons(table(tmp_path / "a.gpkg", {"name": RUNNING, "lcz": zones, "class": RUNNING}))
    assert frame["label"].tolist() == [2, 2, 5, 5]
    assert any("left out" in note for note in notes)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"lcz": [2, 2, 5, 5, 99], "name": RUNNING}, "class '99' is no Local Climate Zone"),
        ({"lcz": ["2", "2", "5", "5", "park"], "name": RUNNING}, "class 'park' is no Local Climate Zone"),
        ({"lcz_2010": ZONES, "lcz_2020": RUNNING}, "columns lcz_2010, lcz_2020 hold different zones; name one"),
        ({"class": ["2", "2", "5", "5", "park"], "code": RUNNING}, "class 'park' is no Local Climate Zone"),
        ({"lcz_probability": [0.5] * 5, "height": RUNNING}, "no class column among height, lcz_probability"),
    ],
)
def test_a_column_that_does_not_hold_is_refused_not_replaced(tmp_path, columns, says):
    with pytest.raises(ValueError, match=says):
        read_polygons(table(tmp_path / "a.gpkg", columns))


@pytest.mark.parametrize("name", ["name", "code", "value", "DN"])
def test_running_numbers_taken_for_zones_are_warned_of(tmp_path, name):
    path = table(tmp_path / "a.gpkg", {name: RUNNING, "kind": ZONES})
    assert any(note.startswith("warning: ") and "running numbers" in note for note in read_polygons(path)[1])
    assert not any("running numbers" in note for note in read_polygons(path, column=name)[1])
    assert read_polygons(path, column="KIND")[0]["label"].tolist() == ZONES


def test_zones_counted_from_0_are_warned_of(tmp_path):
    notes = read_polygons(table(tmp_path / "a.gpkg", {"lcz": [0, 1, 4, 16]}))[1]
    assert any(note.startswith("warning: class 0 left out (1 polygons); if zones are counted from 0") for note in notes)


def region(name, width=1.0):
    ring = f"12.9,52.4,0 {12.9 + width},52.4,0 {12.9 + width},52.9,0 12.9,52.9,0 12.9,52.4,0"
    outer = f"<outerBoundaryIs><LinearRing><coordinates>{ring}</coordinates></LinearRing></outerBoundaryIs>"
    return f"<Placemark><name>{name}</name><Polygon>{outer}</Polygon></Placemark>"


@pytest.mark.parametrize(
    "body",
    [
        f"<Folder><name>[City][2020][Somebody]</name>{region('ROI')}{folders(['2', '7', 'D'])}</Folder>",
        f"<Folder><name>ROI</name>{region('Region of Interest')}</Folder>{folders(['2', '7', 'D'])}",
        f"{region('Untitled Polygon')}{folders(['LCZ 2', 'LCZ 7', 'LCZ D'])}",
        f"<Folder><name>Areas</name>{region('study area')}{placemark('2', 13)}{placemark('2', 13.1)}"
        f"{placemark('LCZ 7', 13.2)}"
        f"{placemark('7', 13.3)}{placemark('D', 13.4)}{placemark('104', 13.5)}</Folder>",
        "<Folder><name>2</name></Folder>" + region("a") + folders(["2", "7", "D"]),
    ],
)
def test_the_region_of_interest_of_the_template_is_left_out_with_a_note(tmp_path, body):
    path = tmp_path / "areas.kml"
    path.write_text(kml(body))
    frame, notes = read_polygons(path)
    assert frame["label"].tolist() == [2, 2, 7, 7, 14, 14]
    assert sum("left out: it is no zone and surrounds the others" in note for note in notes) == 1


def test_two_folders_of_one_zone_are_both_read(tmp_path):
    path = tmp_path / "areas.kml"
    path.write_text(kml(folders(["2", "D", "2"])))
    assert sorted(read_polygons(path)[0]["label"]) == [2, 2, 2, 2, 14, 14]


@pytest.mark.parametrize(
    "stray",
    [
        folders(["urban"]),
        "<Folder><name>Compct midrise</name>" + placemark("a", 14) + "</Folder>",
        placemark("LCZ 3", 14),
    ],
)
def test_an_area_in_no_folder_of_a_zone_is_refused(tmp_path, stray):
    (tmp_path / "a.kml").write_text(kml(folders(["2", "D"]).replace("13.", "15.") + stray))
    with pytest.raises(ValueError, match=r"is no Local Climate Zone; use"):
        read_polygons(tmp_path / "a.kml")


SAME = square(0, 0, 400)


@pytest.mark.parametrize("other", [SAME, square(200, 0, 400), square(100, 100, 100), square(-500, -500, 2000)])
def test_one_place_in_two_zones_is_warned_of_by_name(tmp_path, other):
    path = table(tmp_path / "a.gpkg", {"lcz": [2, 5, 6]}, [SAME, other, square(5000, 0, 400)])
    warnings = [note for note in read_polygons(path)[1] if note.startswith("warning")]
    assert len(warnings) == 1
    assert "polygons 1 (LCZ 2) and 2 (LCZ 5) overlap" in warnings[0]


@pytest.mark.parametrize("other", [SAME, square(200, 0, 400), square(100, 100, 100)])
def test_one_place_twice_in_one_zone_becomes_one_polygon(tmp_path, other):
    path = table(tmp_path / "a.gpkg", {"lcz": [2, 6, 2]}, [SAME, square(5000, 0, 400), other])
    frame, notes = read_polygons(path)
    assert frame["label"].tolist() == [2, 6]
    assert frame.geometry[0].equals(SAME.union(other))
    assert any("overlapping polygons 1 (LCZ 2), 3 (LCZ 2) joined" in note for note in notes)


def test_neighbours_that_share_a_border_are_left_alone(tmp_path):
    rows = {"lcz": [2, 2, 5]}
    frame, notes = read_polygons(table(tmp_path / "a.gpkg", rows, [SAME, square(399, 0, 400), square(0, 400, 400)]))
    assert (len(frame), notes) == (3, ["class column 'lcz'"])


def test_areas_are_right_across_180_degrees(tmp_path):
    shape = Polygon([(179.99, -17), (-179.99, -17), (-179.99, -17.01), (179.99, -17.01)])
    gpd.GeoDataFrame({"lcz": ["2"]}, geometry=[shape], crs=4326).to_file(tmp_path / "a.gpkg")
    assert (read_polygons(tmp_path / "a.gpkg")[0].to_crs(32760).area / 1e6).tolist() == pytest.approx([2.36], rel=0.01)


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


def damaged_kmz(folder, byte=0):
    with zipfile.ZipFile(folder / "a.kmz", "w") as archive:
        archive.writestr("doc.kml", kml(folders(["1"])))
    content = bytearray((folder / "a.kmz").read_bytes())
    content[content.index(b"PK\x01\x02") + byte] = 157
    (folder / "a.kmz").write_bytes(content)
    return folder / "a.kmz"


def kmz_of_an_unknown_version(folder):
    return damaged_kmz(folder, byte=6)


def a_layer_of_a_local_crs(folder):
    write_areas(folder / "a.gpkg", [("2", square(0, 0, 9))])
    local = gpd.GeoDataFrame({"lcz": ["5"]}, geometry=[square(0, 0, 9)], crs='LOCAL_CS["site grid",UNIT["metre",1]]')
    local.to_file(folder / "a.gpkg", layer="site")
    return folder / "a.gpkg"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (damaged_kmz, "not readable as polygons"),
        (kmz_of_an_unknown_version, "not readable as polygons"),
        (a_layer_of_a_local_crs, "its CRS cannot be transformed (site grid)"),
        (faulty_class, "class 'urban' is no Local Climate Zone"),
        (code_out_of_range, "class '18' is no Local Climate Zone"),
        (no_column, "no class column among colour; name it with --class-column"),
        (no_crs, "no coordinate reference system"),
        (not_a_vector, "not readable as polygons"),
        (broken_kml, "readable as"),
        (only_points, "no usable polygon"),
        (folder_of_no_zone, "class 'ROI/a' is no Local Climate Zone"),
        (empty_kml, "no geometry"),
        (a_folder, "not readable as polygons"),
    ],
)
def test_each_fault_is_one_line_with_a_remedy(tmp_path, make, says):
    path = make(tmp_path)
    with pytest.raises(ValueError, match="; ") as fault:
        read_polygons(path)
    assert says in str(fault.value)
    assert str(fault.value).startswith(str(path))
    assert "\n" not in str(fault.value)


def test_a_table_is_not_asked_for_a_prj_and_many_points_are_not_listed(tmp_path):
    (tmp_path / "a.csv").write_text('lcz,WKT\n2,"POLYGON ((0 0, 1 0, 1 1, 0 0))"\n')
    with pytest.raises(InputError, match="no coordinate reference system; save it again with one"):
        read_polygons(tmp_path / "a.csv")
    points = write_areas(tmp_path / "p.geojson", [(2, square(200 * n, 0, 100).centroid) for n in range(30)])
    with pytest.raises(InputError, match="a Point has no area") as fault:
        read_polygons(points)
    assert len(str(fault.value)) < 400 + len(str(points))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.kml: no such file; give"):
        read_polygons(tmp_path / "none.kml")


SCHEMA = (
    """<Schema name="s" id="s"><SimpleField name="LCZ" type="int"/></Schema><Folder><name>areas</name>{}</Folder>"""
)
DATA = '</name><ExtendedData><SchemaData schemaUrl="#s"><SimpleData name="LCZ">5</SimpleData>'
DATA += "</SchemaData></ExtendedData>"
REGION = "<Folder><name>Region of Interest</name>{}</Folder>"
KML_FORMS = {
    "data by a schema": (SCHEMA.format(placemark("a", 13).replace("</name>", DATA)), "utf-8", [5]),
    "names in CDATA": (f"<Folder><name><![CDATA[LCZ B]]></name>{placemark('a', 13)}</Folder>", "utf-8", [12]),
    "names with spaces": (f"<Folder><name>  lcz  a </name>{placemark('a', 13)}</Folder>", "utf-8", [11]),
    "folders without a polygon": (folders(["1"]) + "<Folder><name>LCZ A</name></Folder>" * 3, "utf-8", [1, 1]),
    "UTF-16": (folders(["1", "G"]), "utf-16", [1, 1, 17, 17]),
    "UTF-8 with a mark": (folders(["1", "G"]), "utf-8-sig", [1, 1, 17, 17]),
    "Latin-1": (f"<Folder><name>LCZ 1</name>{placemark('Straße', 13)}</Folder>", "iso-8859-1", [1]),
    "a region and zones in other words": (
        folders(["Compact highrise", "G"]) + REGION.format(placemark("ROI", 12.9).replace("12.91,", "15,")),
        "utf-8", [1, 1, 17, 17],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KML_FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_kml_in_every_form(tmp_path, name, packed):
    body, encoding, labels = KML_FORMS[name]
    content = kml(body).replace("UTF-8", encoding.removesuffix("-sig")).encode(encoding)
    path = tmp_path / ("areas.kmz" if packed else "areas.kml")
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("files/areas.kml", content)  # not doc.kml
            archive.writestr("files/icon.png", b"")
    else:
        path.write_bytes(content)
    assert read_polygons(path)[0]["label"].tolist() == labels


@pytest.mark.parametrize(("columns", "labels", "chosen"), [
    ({"Id": [1, 2, 3], "gridcode": [6, 6, 14]}, [6, 6, 14], "gridcode"),
    ({"ID_RSU": [1, 2], "LCZ_PRIMARY": [2, 101], "LCZ_SECONDARY": [5, 104], "LCZ_UNIQUENESS_VALUE": [0.2, 0.3]},
     [2, 11], "LCZ_PRIMARY"),
    ({"Name": ["park", "port"], "Class": [11, 10]}, [11, 10], "Class"),
    ({"code": [1, 2, 3], "type": ["LCZ 5", "LCZ 5", "LCZ 6"]}, [5, 5, 6], "type"),
    ({"id": [1, 2, 3], "lcz_class": ["Compact high-rise", "Dense trees", "Water"]}, [1, 11, 17], "lcz_class"),
    ({"Local Climate Zone": ["LCZ 2", "LCZ G"], "value": [1, 2]}, [2, 17], "Local Climate Zone"),
    ({"LCZ": [1, 11], "lcz_code": ["1", "A"]}, [1, 11], "LCZ"),
])  # fmt: skip
@pytest.mark.parametrize("suffix", ["geojson", "fgb", "gml"])
def test_the_class_column_is_found_among_others_in_any_format(tmp_path, columns, labels, chosen, suffix):
    shapes = [square(1000 * n, 0, 400) for n in range(len(labels))]
    if suffix == "gml":
        columns = {name.replace(" ", "_"): values for name, values in columns.items()}
    gpd.GeoDataFrame(columns, geometry=shapes, crs=32633).to_file(tmp_path / f"a.{suffix}")
    frame, notes = read_polygons(tmp_path / f"a.{suffix}")
    assert sorted(frame["label"]) == sorted(labels)
    assert f"class column {chosen.replace(' ', '_' if suffix == 'gml' else ' ')!r}" in notes
