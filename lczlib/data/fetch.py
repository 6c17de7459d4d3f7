"""Downloads: resumable, checked by SHA-256, unpacked without leaving their folder."""

import os
import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch
import requests
from pyproj import CRS
from tqdm.auto import tqdm

from lczlib.errors import InputError
from lczlib.runs import write_text

LCZC_GES2_URL = "https://github.com/ctrlovefly/DF4LCZ/archive/refs/heads/main.zip"  # about 670 MB with its data
_HEATWISE = "https://raw.githubusercontent.com/heatwise-lcz/heatwise-patch-extraction"
_LABELS = f"{_HEATWISE}/8aeca534e04ea59130cb22c4d82e5bdc78c46141/data/Berlin/Berlin_labels"
_SOLARIS = "https://raw.githubusercontent.com/CosmiQ/solaris/b40c92fddaacd46c5fc31a89ba3aa2012dfbc0d3"
REAL_SAMPLES = {  # file: (address, SHA-256)
    "berlin/Berlin_S2_2024-10-24_sample.tif": (
        f"{_HEATWISE}/de87a2abd3f1d2310e7607e1647a85615fb3396c/data/Berlin/Berlin_S2_2024-10-24_sample.tif",
        "60a1ec291783241c7a160fd61c2ecf25ef0df9e247c5129c2302b56f5289d2bc",
    ),
    "berlin/Berlin_labels.shp": (f"{_LABELS}.shp", "91fa050e6d9d1a6cd7123be2c9ab6b5197feed88e88e48a47081df0295d16d85"),
    "berlin/Berlin_labels.shx": (f"{_LABELS}.shx", "d31c312535d2626a61bffd53f7de831a9283564e081fcbe9d5a0cc0b862136c5"),
    "berlin/Berlin_labels.dbf": (f"{_LABELS}.dbf", "f57b6690660e18026f07cfdc94ba0dc8ef722f0a7521d0d3ad6a49ebe986f58b"),
    "rotterdam/ms1.tif": (
        f"{_SOLARIS}/solaris/data/preproc_tutorial/ms1.tif",
        "5c0b92a1b2b9c0fddf6d568fa2f86909b868780e0b06ada9c4207aed4e12a63c",
    ),
}
LICENCES = """Real samples, for trials; not part of lczlib.

berlin     heatwise-lcz/heatwise-patch-extraction, MIT; contains modified Copernicus Sentinel data (2024)
rotterdam  CosmiQ/solaris, Apache-2.0; SpaceNet 6 imagery, CC BY-SA 4.0
terramind  not fetched: https://github.com/IBM/terramind, folder examples, Apache-2.0; Copernicus
"""


def fetch_file(url: str, to: str | Path, sha256: str | None = None) -> Path:
    """Download `url` to the file `to`, unless it is there already; a broken download goes on where it stopped.

    Args:
        sha256: expected digest. None where the publisher gives none: the digest is then noted beside the file
            (`<file>.sha256`) at the first download and holds from then on.

    Raises InputError where there is no connection or no such file, or the digest differs (the download is removed).
    """
    to = Path(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    note, part = to.with_name(to.name + ".sha256"), to.with_name(to.name + ".part")
    sha256 = sha256 or (note.read_text().strip() if note.exists() else None)
    if to.exists() and sha256 in (None, pooch.file_hash(str(to))):
        return to
    try:
        _download(url, part)
    except requests.RequestException as fault:
        reason = type(fault).__name__
        raise InputError(f"{url}: not downloaded ({reason}); check the connection and call again") from None
    found = pooch.file_hash(str(part))
    if sha256 and found != sha256:
        part.unlink()
        raise InputError(f"{url}: SHA-256 is not {sha256}; what came was removed, call again or check the source")
    os.replace(part, to)
    if not sha256:
        note.write_text(found + "\n")
    return to


def _download(url: str, part: Path) -> None:
    """Into the file `part`, of which only the rest is asked for where it is there (pooch begins again)."""
    have = part.stat().st_size if part.exists() else 0
    with requests.get(url, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=30) as answer:
        if answer.status_code == 416:  # nothing is missing any more
            return
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem)
        with part.open("ab" if have else "wb") as file, bar:
            for block in answer.iter_content(1 << 16):
                file.write(block)
                bar.update(len(block))


def unpack(archive: Path, to: Path) -> Path:
    """Unpack a zip of one folder as the folder `to`, beside what is there.

    Raises InputError where it is damaged, or a member would be written outside `to` (nothing is written then).
    """
    try:
        with zipfile.ZipFile(archive) as stored, TemporaryDirectory(dir=archive.parent, prefix=".") as folder:
            if strange := [name for name in stored.namelist() if ".." in Path(name).parts or name.startswith("/")]:
                raise InputError(f"{archive}: {strange[0]!r} would be written outside {to}; do not trust it")
            stored.extractall(folder)
            (top,) = Path(folder).iterdir()
            shutil.copytree(top, to, copy_function=os.replace, dirs_exist_ok=True)
    except zipfile.BadZipFile as fault:
        raise InputError(f"{archive}: not a sound zip ({fault}); delete it and fetch again") from None
    return to


def fetch_lczc_ges2(to: str | Path) -> Path:
    """The published repository with its Sentinel-2 patches, graphs, splits and weights, unpacked into `to`.

    The Google Earth patches lie in a separate archive that must be fetched by hand (the repository's README links
    it); put its `google_img_320` folder into `to`. Without it the shipped graphs serve.
    """
    return unpack(fetch_file(LCZC_GES2_URL, Path(to).resolve().with_suffix(".zip")), Path(to))


def fetch_real_samples(to: str | Path) -> Path:
    """Two real places: a Sentinel-2 scene of Berlin with labelled polygons, and 1 m RGB of Rotterdam.

    Set the environment variable LCZ_REALDATA to the folder, and notebooks 01 and 08 use them. `README.txt` in it
    names sources and licences.
    """
    for name, (url, sha256) in REAL_SAMPLES.items():
        fetch_file(url, Path(to) / name, sha256)
    write_text(Path(to) / "berlin" / "Berlin_labels.prj", CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    write_text(Path(to) / "README.txt", LICENCES)
    return Path(to)
