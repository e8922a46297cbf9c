"""The API of avatars."""

import errno
import io
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from avatars_app import services
from avatars_app.models import Avatar
from avatars_app.uploads import storage
from tests.factories import make_avatar

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[3]
WHERE = "/prepare_avatar/ann"


@pytest.fixture(autouse=True)
def _folders(avatars_dir):
    """Every test has its own."""


@pytest.fixture
def ready(avatars_dir) -> Avatar:
    folder = avatars_dir / "ann"
    make_avatar(folder, {"idle_0": 30, "speaking_0": 25}, name="ann")
    (folder / "preview.mp4").write_bytes(bytes(range(200)))
    (folder / "report.png").write_bytes(b"a picture")
    return services.avatar_adopt(user_id="ann")


def video(name: str = "me.mp4", content: bytes = b"a video") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def assert_problem(response, status: int, words: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert words in problem["detail"]
    return problem


def test_an_upload_is_accepted_and_says_where_to_look(client):
    response = client.post(WHERE, {"video": video()})
    assert response.status_code == 202
    assert response["Location"] == "http://testserver/prepare_avatar/ann"
    said = response.json()
    assert (said["status"], said["percent"], said["error"]) == ("queued", 0, None)
    assert said["status_url"] == response["Location"]
    assert client.get(said["status_url"]).json() == said
    assert storage.source(Avatar.objects.get().upload).read_bytes() == b"a video"


def test_a_large_upload_is_moved_not_copied(client):
    content = bytes(3_000_000)
    assert client.post(WHERE, {"video": video(content=content)}).status_code == 202
    assert storage.source(Avatar.objects.get().upload).stat().st_size == len(content)


def test_clips_are_reported_by_their_names(client):
    sent = [video("idle_0.mp4", b"i"), video("speaking_2.mov", b"s")]
    assert client.post(WHERE, {"clips": sent}).status_code == 202
    sources = storage.source(Avatar.objects.get().upload)
    assert isinstance(sources, dict)
    assert set(sources) == {"idle_0", "speaking_2"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Upload the file"),
        ({"video": video(content=b"")}, "empty"),
        ({"video": "just text"}, "not a file"),
        ({"video": video(), "image": video("me.jpg")}, "only one"),
        ({"clips": [video("holiday.mp4")]}, "standard clip"),
        ({"clips": [video("../idle_9.mp4")]}, "standard clip"),
        ({"clips": [video("idle_0.mp4"), video("idle_0.mov")]}, "two files for idle_0"),
    ],
)
def test_a_wrong_form_is_answered_with_what_is_allowed(client, fields, words, avatars_dir):
    for file in (
        f for value in fields.values() for f in (value if isinstance(value, list) else [value])
    ):
        if hasattr(file, "seek"):
            file.seek(0)
    problem = assert_problem(client.post(WHERE, fields), 400, words)
    assert problem["title"] == "Bad Request"
    assert not Avatar.objects.exists()
    assert not avatars_dir.exists()


def test_names_with_path_tricks_touch_nothing(client, avatars_dir):
    sent = [video("../../idle_0.mp4"), video("..\\..\\idle_1.mp4"), video("/etc/idle_2.mp4")]
    assert client.post(WHERE, {"clips": sent}).status_code == 202
    files = [path for path in avatars_dir.parent.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"idle_0", "idle_1", "idle_2"}
    assert all(avatars_dir / ".uploads" in path.parents for path in files)


def test_the_server_opens_no_paths(client):
    for response in (
        client.post(f"{WHERE}?video_path=/etc/passwd"),
        client.post(f"{WHERE}?video_path=/etc/passwd", {"video": video()}),
        client.post(WHERE, {"video_path": "/etc/passwd"}, content_type="application/json"),
        client.post(
            WHERE, "video_path=/etc/passwd", content_type="application/x-www-form-urlencoded"
        ),
        client.post(WHERE, {"video_path": "/etc/passwd"}),
    ):
        assert_problem(response, 400, "Upload the file")
    assert not Avatar.objects.exists()


@pytest.mark.parametrize("user_id", ["a b", "ä", "x" * 65, "a%0A", "%2e%2e", "a.b"])
def test_a_wrong_user_id_is_refused(client, user_id):
    for address in ("prepare_avatar", "avatars", "processing_status"):
        assert_problem(client.get(f"/{address}/{user_id}"), 400, "user_id must be")
    assert_problem(client.post(f"/prepare_avatar/{user_id}", {"video": video()}), 400, "user_id")


def test_one_preparation_at_a_time(client):
    assert client.post(WHERE, {"video": video()}).status_code == 202
    assert_problem(client.post(WHERE, {"video": video()}), 409, "cancel it")
    assert client.delete(WHERE).status_code == 204
    assert_problem(client.get(WHERE), 404)
    assert client.post(WHERE, {"video": video()}).status_code == 202


def test_too_large_is_refused_unread(client, settings):
    settings.MAX_UPLOAD_MB = 1
    assert_problem(client.post(WHERE, {"video": video(content=bytes(1_000_001))}), 413, "1 MB")
    assert not Avatar.objects.exists()


def test_a_full_disk_is_said(client, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "_take", full)
    assert_problem(client.post(WHERE, {"video": video()}), 507, "room")
    assert not Avatar.objects.exists()


def test_a_fault_of_ours_is_a_problem_too_and_logged(client, monkeypatch, caplog):
    def fail(**_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(services, "avatar_receive", fail)
    client.raise_request_exception = False
    problem = assert_problem(client.post(WHERE, {"video": video()}), 500)
    assert "secret" not in str(problem)
    assert "ZeroDivisionError" in caplog.text


def test_removing_an_avatar(client, ready, avatars_dir):
    assert client.delete(WHERE).status_code == 204
    assert not (avatars_dir / "ann").exists()
    assert_problem(client.delete(WHERE), 404)


def test_avatars_are_listed(client, ready, settings):
    make_avatar(settings.SHIPPED_AVATARS_DIR / "presenter", {"idle_0": 10}, name="presenter")
    client.post("/prepare_avatar/bob", {"video": video()})
    ann, bob, presenter = client.get("/avatars").json()
    assert (ann["user_id"], ann["status"], ann["is_shipped"]) == ("ann", "ready", False)
    assert (bob["user_id"], bob["status"], bob["thumbnail"]) == ("bob", "queued", None)
    assert (presenter["is_default"], presenter["is_shipped"]) == (True, True)
    services.avatar_disable(avatar=ready)
    assert [avatar["user_id"] for avatar in client.get("/avatars").json()] == ["bob", "presenter"]
    assert_problem(client.get("/avatars/ann"), 404)


def test_an_avatar_and_its_files(client, ready):
    said = client.get("/avatars/ann").json()
    assert [clip["name"] for clip in said["clips"]] == ["idle_0", "speaking_0"]
    assert said["clips"][0]["duration_ms"] == 1_200

    shown = client.get(said["clips"][0]["video"], headers={"accept": "video/*"})
    with av.open(io.BytesIO(shown.content)) as opened:
        assert len(list(opened.decode(video=0))) == 30
    assert client.get(said["thumbnail"])["Content-Type"] == "image/jpeg"
    assert client.get(said["report_picture"]).content == b"a picture"

    part = client.get(said["preview"], headers={"range": "bytes=100-"})
    assert (part.status_code, part["Content-Range"]) == (206, "bytes 100-199/200")
    assert part.content == bytes(range(100, 200))
    assert part["Content-Type"] == "video/mp4"
    again = client.get(said["preview"], headers={"if-none-match": part["ETag"]})
    assert again.status_code == 304


def test_files_that_are_not_there(client, ready, avatars_dir):
    assert_problem(client.get("/avatars/ann/clips/idle_6"), 404, "idle_0, speaking_0")
    assert_problem(client.get("/avatars/ann/clips/..manifest"), 404)
    (avatars_dir / "ann" / "preview.mp4").unlink()
    assert client.get("/avatars/ann").json()["preview"] is None
    assert_problem(client.get("/avatars/ann/preview"), 404, "not prepared here")
    (avatars_dir / "ann" / "clips" / "idle_0.h264").unlink()
    assert_problem(client.get("/avatars/ann/thumbnail"), 404)


def test_people_see_forms(client):
    page = client.get(WHERE.replace("ann", "bob"), headers={"accept": "text/html"})
    assert page.status_code == 404
    client.post(WHERE, {"video": video()})
    page = client.get(WHERE, headers={"accept": "text/html"}).content.decode()
    assert 'type="file"' in page
    assert 'name="video"' in page


def test_older_clients_upload_and_ask(client):
    said = client.post("/upload_video", {"file": video(), "user_id": "ann"})
    assert said.status_code == 200
    assert said.json()["status"] == "processing"
    assert said.json()["user_id"] == "ann"
    assert isinstance(said.json()["estimated_time"], int)
    assert client.get("/processing_status/ann").json()["status"] == "processing"

    job = services.preparation_take()
    services.preparation_fail(job_id=job.job_id, reason="no_face", error="No face was found.")
    problem = assert_problem(client.get("/processing_status/ann"), 422, "No face")
    assert problem["error"] == "No face was found."
    assert assert_problem(client.get("/processing_status/bob"), 404)["error"]


def test_older_clients_without_a_name_get_one(client):
    user_id = client.post("/upload_video", {"file": video()}).json()["user_id"]
    assert Avatar.objects.get().user_id == user_id
    for fields in ({}, {"file": video(), "user_id": "../x"}):
        assert assert_problem(client.post("/upload_video", fields), 400)["error"]


def test_a_finished_one_is_completed_for_older_clients(client, ready):
    begun = timezone.now()
    Avatar.objects.update(started_at=begun, heartbeat_at=begun + timedelta(seconds=12.5))
    said = client.get("/processing_status/ann").json()
    assert (said["status"], said["progress"]) == ("completed", 100)
    assert said["avatar_videos"] == ["idle_0", "speaking_0"]
    assert said["available_for_testing"] is True
    assert said["processing_time"] == 12.5
    services.avatar_disable(avatar=ready)
    said = client.get("/processing_status/ann").json()
    assert said["available_for_testing"] is False


def test_a_wrong_name_has_the_same_words_for_older_clients(client):
    older = client.post("/upload_video", {"file": video(), "user_id": "../x"}).json()["detail"]
    newer = client.post("/prepare_avatar/a.b", {"video": video()}).json()["detail"]
    assert newer in older


def test_sound_is_no_video_for_older_clients(client):
    sound = SimpleUploadedFile("speech.wav", b"RIFF", content_type="audio/wav")
    assert_problem(client.post("/upload_video", {"file": sound}), 400, "video of one person")


def test_the_schema_is_valid_and_without_warnings():
    command = [sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "openapi: 3" in said.stdout
