"""The weight files: found, checked, fetched with the real hub library from a local server."""

import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest

from inference.engines.musetalk import weights
from inference.engines.musetalk.weights import WeightFile
from inference.errors import EngineUnavailable

REVISION = "0123456789abcdef0123456789abcdef01234567"
BIG = bytes(range(256)) * 100_000  # more than two of the library's 10 MB pieces
CONTENT = {"big.safetensors": BIG, "sub/config.json": b'{"a": 1}'}


class Hub(http.server.ThreadingHTTPServer):
    """As much of the hub as its library asks for: HEAD and GET of ``resolve``, with ranges."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = dict(CONTENT)
        self.cut_after = None
        self.ranges: list[str | None] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        match = re.fullmatch(rf"/some/repo/resolve/{REVISION}/(.+)", self.path)
        content = self.server.content.get(match.group(1)) if match else None
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        etag = hashlib.sha256(CONTENT[match.group(1)]).hexdigest()
        start = 0
        asked = self.headers.get("Range") if body else None
        if body:
            self.server.ranges.append(asked)
        if asked:
            start = int(asked.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        cut = self.server.cut_after
        if cut is not None and len(content) > cut:
            self.server.cut_after = None
            self.wfile.write(content[start : start + cut])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(content[start:])


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def files(monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setitem(weights.REVISIONS, "some/repo", REVISION)
    return tuple(
        WeightFile(f"part/{name}", "some/repo", name, len(data), hashlib.sha256(data).hexdigest())
        for name, data in CONTENT.items()
    )


def fetch(root: Path, files, hub: Hub, said=None):
    return weights.download(
        root, files, endpoint=hub.url, say=(said if said is not None else []).append
    )


def test_files_are_fetched_into_the_tree_and_checked(tmp_path, files, hub):
    states = fetch(tmp_path, files, hub)
    assert [state.state for state in states] == ["ok", "ok"]
    assert (tmp_path / "part/big.safetensors").read_bytes() == BIG
    assert (tmp_path / "part/sub/config.json").is_file()


def test_what_is_there_is_not_fetched_again(tmp_path, files, hub):
    fetch(tmp_path, files, hub)
    hub.ranges.clear()
    said: list[str] = []
    assert all(state.state == "ok" for state in fetch(tmp_path, files, hub, said))
    assert hub.ranges == []
    assert said == ["part/big.safetensors: already there", "part/sub/config.json: already there"]


def test_a_wrong_file_is_fetched_again(tmp_path, files, hub):
    fetch(tmp_path, files, hub)
    (tmp_path / "part/big.safetensors").write_bytes(b"x" * len(BIG))
    [state] = weights.check_files(tmp_path, files[:1], checksum=True)
    assert state.state == "wrong"
    assert "SHA-256" in state.detail
    assert fetch(tmp_path, files[:1], hub)[0].state == "ok"


def test_a_broken_download_is_taken_up_where_it_stopped(tmp_path, files, hub):
    hub.cut_after = 12_000_000
    assert fetch(tmp_path, files[:1], hub)[0].state == "ok"
    resumed = [asked for asked in hub.ranges if asked]
    assert resumed, "nothing was resumed"
    assert int(resumed[0].removeprefix("bytes=").split("-")[0]) > 0


def test_a_mirror_with_other_content_is_not_believed(tmp_path, files, hub):
    hub.content["big.safetensors"] = BIG[::-1]
    assert fetch(tmp_path, files[:1], hub)[0].state == "wrong"


def test_a_file_the_hub_lacks_is_named(tmp_path, files, hub):
    del hub.content["sub/config.json"]
    with pytest.raises(EngineUnavailable, match=r"part/sub/config\.json could not be fetched"):
        fetch(tmp_path, files[1:], hub)


def test_the_list_is_pinned_and_complete():
    for file in weights.FILES:
        assert re.fullmatch("[0-9a-f]{40}", weights.REVISIONS[file.repository])
        assert file.repository in weights.LICENSES
        assert file.path.endswith(file.name)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert [file.path for file in weights.chosen_files() if "taesd" in file.path] == []


def touch(root: Path, *paths: str):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_the_references_own_tree_is_recognized(tmp_path):
    touch(
        tmp_path,
        "musetalkV15/musetalk.json",
        "musetalkV15/unet.pth",
        "sd-vae/config.json",
        "sd-vae/diffusion_pytorch_model.bin",
        "whisper/config.json",
        "whisper/pytorch_model.bin",
    )
    tree = weights.find_tree(tmp_path)
    assert tree.unet_weights == tmp_path / "musetalkV15/unet.pth"
    assert tree.vae_weights.suffix == ".bin"
    assert tree.face_parsing is None
    touch(tmp_path, "sd-vae/diffusion_pytorch_model.safetensors")
    assert weights.find_tree(tmp_path).vae_weights.suffix == ".safetensors"


def test_missing_parts_are_listed(tmp_path):
    touch(tmp_path, "musetalkV15/unet.pth", "sd-vae/config.json")
    with pytest.raises(EngineUnavailable) as caught:
        weights.find_tree(tmp_path)
    assert "musetalkV15/musetalk.json" in str(caught.value)
    assert "musetalkV15/unet" not in str(caught.value)
    assert "download_models" in str(caught.value)


def test_pickles_of_an_existing_tree_stand_for_the_safetensors(tmp_path):
    touch(tmp_path, "whisper/pytorch_model.bin")
    [file] = [file for file in weights.FILES if file.path == "whisper/model.safetensors"]
    assert weights.check_file(tmp_path, file, checksum=False).state == "present"
    state = weights.check_file(tmp_path, file, checksum=True)
    assert state.state == "wrong"
    assert "pytorch_model.bin" in state.detail
