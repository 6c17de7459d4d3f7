"""Options of the city commands (`scene`, `patches`, `map`, ...); what they run is imported when they run."""

import argparse
import re
from dataclasses import fields

from lczlib.options import at_least

RUNS = {"dest": "runs", "action": "append", "default": [], "metavar": "RUN"}


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def _scene_options(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """How to read the two images, shared by `patches` and `map`."""
    parser.add_argument("--s2", required=required, help="Sentinel-2 GeoTIFF: 10, 12 or 13 bands, DN or reflectance")
    parser.add_argument("--rgb", help="RGB GeoTIFF of 0.1 to 2 m; any CRS")
    parser.add_argument("--bands", type=lambda text: text.split(","), help="the Sentinel-2 file's bands in order")
    parser.add_argument("--offset", type=float, default=0.0, help="added to DN: -1000 where baseline 04.00 left it in")
    parser.add_argument("--units", choices=("auto", "dn", "reflectance"), default="auto")
    parser.add_argument("--rgb-bands", type=numbers, metavar="R,G,B", help="bands of the RGB file, such as 3,2,1")


def scene_options(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib scene`."""
    parser._negative_number_matcher = re.compile(r"-[\d.][\d.,-]*$")  # a box in the west is no option
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--bbox", metavar="W,S,E,N", help="west, south, east, north in degrees")
    place.add_argument("--polygons", metavar="AREAS", help="training areas: the box around them and 500 m more")
    parser.add_argument("--dates", required=True, metavar="START/END", help="such as 2023-05-01/2023-09-30")
    parser.add_argument("--out", required=True, metavar="S2.tif", help="the ten bands at 10 m in UTM, for --s2")
    parser.add_argument("--stac", metavar="URL", help="a STAC API (Earth Search); of the Planetary Computer: "
                        "https://planetarycomputer.microsoft.com/api/stac/v1")  # fmt: skip
    parser.add_argument("--collection", default="sentinel-2-l2a", help="of the catalogue (sentinel-2-l2a)")
    parser.add_argument("--most", type=int, default=24, help="images of a place that the median is taken of (24)")


def scene(args: argparse.Namespace) -> None:
    """Run `python -m lczlib scene`."""
    from lczlib.city.scene import EARTH_SEARCH, box_of, make_scene, parse_box

    bbox = parse_box(args.bbox) if args.bbox else box_of(args.polygons)
    print(make_scene(args.out, bbox, args.dates, args.stac or EARTH_SEARCH, args.collection, args.most))


def patches_options(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib patches`."""
    _scene_options(parser)
    parser.add_argument("--polygons", required=True, help="training areas: .kml, .kmz, .geojson, .shp, .gpkg")
    parser.add_argument("--out", required=True, help="folder of the new pairs")
    parser.add_argument("--class-column", help="column of the zone, where it has no usual name")
    parser.add_argument("--city", help="name of the city in index.csv (default: the Sentinel-2 file's name)")
    parser.add_argument("--spacing", type=float, default=160.0, help="m between squares (default 160)")
    parser.add_argument("--coverage", type=float, default=0.5, help="least share of a square in its polygon (0.5)")
    parser.add_argument("--append", action="store_true", help="add to the pairs already there")


def patches(args: argparse.Namespace) -> None:
    """Run `python -m lczlib patches`."""
    from lczlib.city.patches import CutOptions, CutReport, cut_patches

    options, report = {field.name: getattr(args, field.name) for field in fields(CutOptions)}, CutReport()
    try:
        cut_patches(args.s2, args.polygons, args.out, args.rgb, progress=True, report=report, **options)
    finally:  # what was assumed may be why it failed
        for line in str(report).splitlines():
            print(line)


def map_options(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib map`."""
    _scene_options(parser, required=False)
    parser.add_argument("--out", required=True, help="the map: a GeoTIFF with bands lcz, lczFilter, probability")
    parser.add_argument("--run", help="folder of a trained run, demo-s2 or demo-ge; once per stream", **RUNS)
    parser.add_argument("--alpha", type=float, help="weight of the Sentinel-2 stream where both are used (published)")
    parser.add_argument("--step", type=float, default=100.0, help="m between windows, and size of a map pixel (100)")
    parser.add_argument("--masks", help="instance masks: nano, mobile, vit_b, vit_l, vit_h (as the run was trained)")
    faster = "arithmetic of the Sentinel-2 stream; auto: bf16 where a short measurement says that it pays"
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help=faster)
    parser.add_argument("--dask", metavar="ADDRESS", help="spread the windows over an existing Dask scheduler")
    for name, text in (
        ("old-codes", "also a copy with 101-107 for LCZ A-G"),
        ("epsg4326", "also a copy in EPSG:4326, fine enough to keep each zone's area"),
        ("wrf-codes", "also a copy in land-use numbers of WRF 4.4.2 and later (51-60 built)"),
        ("kmz", "also an overlay for Google Earth"),
        ("html", "also a page for a browser: zones, probability, training areas"),
        ("cog", "write cloud-optimised GeoTIFFs"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--areas", metavar="AREAS", help="training areas to draw on the page (--html)")
    parser.add_argument("--compare", metavar="OTHER.tif", help="compare with another LCZ map; alone: compare only")
    parser.add_argument("--compare-band", type=int, help="band of OTHER.tif that holds the zones (found by name)")


def map(args: argparse.Namespace) -> None:
    """Run `python -m lczlib map`."""
    from lczlib.city.compare import compare_maps
    from lczlib.city.map import map_scene, open_streams
    from lczlib.city.output import check_target, write_copies
    from lczlib.city.page import write_page
    from lczlib.city.polygons import read_polygons
    from lczlib.city.windows import MapOptions, open_job
    from lczlib.city.zone_raster import ZoneRaster

    copies = {name: getattr(args, name) for name in ("old_codes", "epsg4326", "wrf_codes", "kmz")}
    if args.areas:  # faults are told before the work
        read_polygons(args.areas)
    if args.compare:
        ZoneRaster(args.compare, args.compare_band)
    if args.s2 or args.rgb or not (args.compare or args.html or any(copies.values())):
        check_target(args.out, args.s2, args.rgb, args.areas, args.compare)
        options = {field.name: getattr(args, field.name) for field in fields(MapOptions)}
        for remark in open_job(args.s2, args.rgb, None, None, MapOptions(**options))[1]:
            print(remark)
        streams = open_streams(args.runs, bool(args.s2), bool(args.rgb), args.masks, args.precision)
        used = [stream for stream in streams if stream]
        for stream in used:
            print(f"stream {stream.key}, trained on {stream.trained_on}")
        trained_on = ", ".join(sorted({str(stream.about.get("data") or "") for stream in used} - {""}))
        options |= {"dask": args.dask, "cog": args.cog, "progress": True}
        areas = map_scene(args.out, args.s2, args.rgb, *streams, trained_on, **options).areas
        print(areas[areas["pixels"] > 0].to_string(index=False))
    for path in write_copies(args.out, **copies, cog=args.cog):
        print(path)
    if args.html:
        print(write_page(args.out, args.areas))
    if args.compare:
        print(compare_maps(args.out, args.compare, band=args.compare_band))


def assess_options(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib assess`."""
    parser.add_argument("--run", help="folder of a trained run, once per stream; none: the forest alone", **RUNS)
    parser.add_argument("--map", metavar="LCZ.tif", help="a map to show with the area of its zones; its KMZ beside")
    parser.add_argument("--out", metavar="FOLDER", help="of the factsheet (build/assess/NAME)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="of resamples and forests")
    parser.add_argument("--workers", type=at_least(1), default=2, help="processes (2)")


def assess(args: argparse.Namespace) -> None:
    """Run `python -m lczlib assess`."""
    from pathlib import Path

    from lczlib.city.assess import assess
    from lczlib.city.factsheet import message, write_factsheet
    from lczlib.city.zone_raster import ZoneRaster

    if args.map:
        ZoneRaster(args.map).counts()  # a fault is told before the work
    numbers = assess(args.data, args.runs, args.seed, workers=args.workers, progress=True)
    for line in (*numbers["notes"], *message(numbers)):
        print(line)
    folder = args.out or Path("build/assess") / args.data.resolve().name
    for path in write_factsheet(folder, numbers, args.map):
        print(path)


def at_options(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m lczlib at`."""
    parser.add_argument("map", metavar="LCZ.tif", help="a map, or any LCZ raster")
    parser.add_argument("stations", metavar="STATIONS.csv", help="points: columns lon, lat or x, y (the map's CRS)")
    parser.add_argument("--out", metavar="TABLE.csv", help="where to write the table (printed otherwise)")


def at(args: argparse.Namespace) -> None:
    """Run `python -m lczlib at`."""
    from lczlib.city.compare import zones_at
    from lczlib.city.output import refuse_to_replace
    from lczlib.runs import write_text

    refuse_to_replace([args.out], args.map, args.stations)
    table = zones_at(args.map, args.stations).to_csv(index=False)
    print(write_text(args.out, table) if args.out else table, end="\n" * bool(args.out))
