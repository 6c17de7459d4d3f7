"""Downloads: resumable, checked by SHA-256, unpacked without leaving their folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pooch
import requests
from tqdm.auto import tqdm

from lczlib.errors import InputError
from lczlib.runs import atomic_path

LCZC_GES2_URL = "https://github.com/ctrlovefly/DF4LCZ/archive/refs/heads/main.zip"  # about 670 MB with its data
_BLOCK = 1 << 16


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
