import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lczlib.data import fetch
from lczlib.data.fetch import fetch_file, fetch_real_samples, unpack

CONTENT = bytes(range(256)) * 4000


class _Server(BaseHTTPRequestHandler):
    """Serves CONTENT, honours Range, and breaks off once in the middle."""

    break_off = True
    ranges: list[str | None]

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        body = CONTENT[start:]
        if type(self).break_off:
            type(self).break_off = False
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (_Server,), {"ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/file.bin", handler
        http.shutdown()


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    url, handler = server
    digest = hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(ValueError, match=r"not downloaded.*call again"):
        fetch_file(url, tmp_path / "file.bin", digest)
    assert fetch_file(url, tmp_path / "file.bin", digest).read_bytes() == CONTENT
    assert handler.ranges[0] is None
    assert int(handler.ranges[1].removeprefix("bytes=").rstrip("-")) > len(CONTENT) // 4
    fetch_file(url, tmp_path / "file.bin", digest)  # there already: no third request
    assert len(handler.ranges) == 2


def test_a_wrong_digest_removes_what_came(server, tmp_path):
    url, handler = server
    handler.break_off = False
    with pytest.raises(ValueError, match="SHA-256 is not"):
        fetch_file(url, tmp_path / "file.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_without_a_published_digest_the_first_one_holds(server, tmp_path):
    url, handler = server
    handler.break_off = False
    target = fetch_file(url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin.sha256").read_text().strip() == hashlib.sha256(CONTENT).hexdigest()
    target.write_bytes(b"changed")
    assert fetch_file(url, target).read_bytes() == CONTENT


def test_archives_stay_in_their_folder(tmp_path):
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("top/a/b.txt", "b")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("top/a.txt", "a")
        archive.writestr("top/../../evil.txt", "evil")
    assert (unpack(good, tmp_path / "out") / "a" / "b.txt").read_text() == "b"
    with pytest.raises(ValueError, match="would be written outside"):
        unpack(bad, tmp_path / "out2")
    assert not (tmp_path / "out2").exists()
    bad.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a sound zip"):
        unpack(bad, tmp_path / "out3")


def test_the_published_set_is_unpacked_here_too(tmp_path, monkeypatch):
    def download(url, to):
        with zipfile.ZipFile(to, "w") as archive:
            archive.writestr("DF4LCZ-main/README.md", "text")
        return to

    monkeypatch.setattr(fetch, "fetch_file", download)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert (fetch.fetch_lczc_ges2(".") / "README.md").read_text() == "text"


def test_real_samples_come_with_their_coordinates_and_licences(server, tmp_path, monkeypatch):
    url, _ = server
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(fetch, "REAL_SAMPLES", dict.fromkeys(fetch.REAL_SAMPLES, (url, digest)))
    with pytest.raises(ValueError, match="not downloaded"):
        fetch_real_samples(tmp_path)  # the server breaks off once; calling again goes on
    folder = fetch_real_samples(tmp_path)
    assert (folder / "berlin" / "Berlin_S2_2024-10-24_sample.tif").read_bytes() == CONTENT
    assert "UTM_Zone_33N" in (folder / "berlin" / "Berlin_labels.prj").read_text()
    assert "CC BY-SA 4.0" in (folder / "README.txt").read_text()
