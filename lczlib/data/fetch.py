"""Downloads: resumable, checked by SHA-256, unpacked without leaving their folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pooch
import requests
from pyproj import CRS
from tqdm.auto import tqdm

from lczlib.errors import InputError
from lczlib.runs import atomic_path, write_text

LCZC_GES2_URL = "https://github.com/ctrlovefly/DF4LCZ/archive/refs/heads/main.zip"  # about 670 MB with its data
_BLOCK = 1 << 16
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


class ResumableHTTP:
    """A pooch downloader that keeps what it has in `<file>.part` and asks for the rest next time."""

    def __init__(self, part: Path):
        self.part = part

    def __call__(self, url: str, output_file: str, pooch_: object) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
            if answer.status_code != 416:  # 416: nothing is missing any more
                answer.raise_for_status()
                self._write(answer, have if answer.status_code == 206 else 0)
        shutil.copyfile(self.part, output_file)

    def _write(self, answer: requests.Response, have: int) -> None:
        total = have + int(answer.headers.get("Content-Length", 0))
        bar = tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=self.part.stem)
        with self.part.open("ab" if have else "wb") as file, bar:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                bar.update(len(block))


def fetch_file(url: str, to: str | Path, sha256: str | None = None) -> Path:
    """Download `url` to the file `to`, unless it is there already; a broken download goes on where it stopped.

    Args:
        sha256: expected digest. None where the publisher gives none: the digest is then noted beside the file
            (`<file>.sha256`) at the first download and holds from then on.

    Raises:
        ValueError: no connection, an answer that is no file, or a digest that differs (the file is removed).
    """
    to = Path(to)
    to.parent.mkdir(parents=True, exist_ok=True)
    note, part = to.with_name(to.name + ".sha256"), to.with_name(to.name + ".part")
    sha256 = sha256 or (note.read_text().strip() if note.exists() else None)
    try:
        pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, to.name, to.parent, downloader=ResumableHTTP(part))
    except requests.RequestException as fault:
        raise InputError(
            f"{url}: not downloaded ({type(fault).__name__}); check the connection and call again"
        ) from None
    except ValueError:
        part.unlink(missing_ok=True)
        raise InputError(
            f"{url}: SHA-256 is not {sha256}; what came was removed, call again or check the source"
        ) from None
    part.unlink(missing_ok=True)
    if not sha256:
        note.write_text(pooch.file_hash(str(to)) + "\n")
    return to


def unpack(archive: str | Path, to: str | Path, strip: int = 0) -> Path:
    """Unpack a zip into the folder `to`, dropping `strip` leading folders of each name.

    Raises:
        ValueError: a damaged archive, or a member that would be written outside `to` (nothing is written then).
    """
    archive, to = Path(archive), Path(to).resolve()
    try:
        with zipfile.ZipFile(archive) as stored:
            members = {
                m: to.joinpath(*Path(m.filename).parts[strip:]).resolve() for m in stored.infolist() if not m.is_dir()
            }
            for member, target in members.items():
                if not target.is_relative_to(to):
                    raise InputError(f"{archive}: {member.filename!r} would be written outside {to}; do not trust it")
            for member, target in tqdm(members.items(), desc=f"unpacking {archive.name}"):
                with stored.open(member) as source, atomic_path(target) as temporary, temporary.open("wb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
    except zipfile.BadZipFile as fault:
        raise InputError(f"{archive}: not a sound zip ({fault}); delete it and fetch again") from None
    return to


def fetch_lczc_ges2(to: str | Path, url: str = LCZC_GES2_URL) -> Path:
    """The published repository with its Sentinel-2 patches, graphs, splits and weights, unpacked into `to`.

    The Google Earth patches lie in a separate archive that must be fetched by hand (the repository's README links
    it); put its `google_img_320` folder into `to`. Without it the shipped graphs serve.
    """
    archive = fetch_file(url, Path(to).with_suffix(".zip"))
    return unpack(archive, to, strip=1)


def fetch_real_samples(to: str | Path) -> Path:
    """Two real places: a Sentinel-2 scene of Berlin with labelled polygons, and 1 m RGB of Rotterdam.

    Set the environment variable LCZ_REALDATA to the folder, and notebooks 01, 06 and 08 use them. `README.txt` in it
    names sources and licences.
    """
    for name, (url, sha256) in REAL_SAMPLES.items():
        fetch_file(url, Path(to) / name, sha256)
    write_text(Path(to) / "berlin" / "Berlin_labels.prj", CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
    write_text(Path(to) / "README.txt", LICENCES)
    return Path(to)
