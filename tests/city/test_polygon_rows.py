"""Messages name a training area by its row in the file, however many rows before it were left out or taken apart."""

import geopandas as gpd
from geodata import UTM33, square, write_areas
from shapely.geometry import MultiPolygon, Point, Polygon

from lczlib.city.polygons import read_polygons

TWO = MultiPolygon([square(0, 0, 100), square(200, 0, 100)])
BOWTIE = Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])


def test_rows_are_those_of_the_file(tmp_path):
    rows = [(None, square(0, 900, 50)), ("2", TWO), ("0", square(0, 800, 50)), ("3", BOWTIE), ("4", Point(5, 5)),
            ("5", square(5000, 0, 100)), ("6", square(5000, 0, 100)), ("5", square(5050, 0, 100))]  # fmt: skip
    notes = read_polygons(write_areas(tmp_path / "a.gpkg", rows))[1]
    assert [note for note in notes if "polygon" in note and "class 0" not in note] == [
        "polygon 1 left out: it has no class",
        "polygon 4 (LCZ 3) mended: its outline crosses itself",
        "polygon 5 (LCZ 4) left out: a Point has no area",
        "warning: polygons 6 (LCZ 5) and 7 (LCZ 6) overlap: pairs of one place get both labels; draw each place once",
        "warning: polygons 7 (LCZ 6) and 8 (LCZ 5) overlap: pairs of one place get both labels; draw each place once",
        "overlapping polygons 6 (LCZ 5), 8 (LCZ 5) joined: they are the same place",
    ]


def test_of_several_layers_the_layer_is_named_too(tmp_path):
    write_areas(tmp_path / "a.gpkg", [("2", square(0, 0, 100)), ("3", square(500, 0, 100))])
    other = gpd.GeoDataFrame({"lcz": [None, "5"]}, geometry=[square(900, 0, 50), square(510, 0, 50)], crs=UTM33)
    other.to_file(tmp_path / "a.gpkg", layer="new")
    notes = read_polygons(tmp_path / "a.gpkg")[1]
    assert "polygon 1 of 'new' left out: it has no class" in notes
    assert any("polygons 2 of 'a' (LCZ 3) and 2 of 'new' (LCZ 5) overlap" in note for note in notes)
