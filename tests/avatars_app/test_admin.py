"""Avatars in the admin: what staff see, send and do."""

import io
from typing import get_args

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile

from avatars_app import services
from avatars_app.admin import STAGES
from avatars_app.models import Avatar
from avatars_app.uploads import storage
from inference.assets import manifest
from inference.preparation.prepare import Stage
from tests.factories import make_avatar

pytestmark = pytest.mark.django_db
LIST = "/admin/avatars_app/avatar/"
ADD = f"{LIST}add/"
Status = Avatar.Status


@pytest.fixture(autouse=True)
def _folders(avatars_dir):
    """Every test has its own."""


@pytest.fixture
def ready(avatars_dir) -> Avatar:
    make_avatar(avatars_dir / "anna", {"idle_0": 30}, name="anna")
    (avatars_dir / "anna" / "preview.mp4").write_bytes(b"a video")
    return services.avatar_adopt(user_id="anna")


def video(name: str = "me.mp4") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, b"a video")


def queued(user_id: str = "anna") -> Avatar:
    files = {"video": io.BytesIO(b"a video")}
    return services.avatar_receive(user_id=user_id, kind="video", files=files)


def page_of(client, avatar: Avatar) -> str:
    response = client.get(f"{LIST}{avatar.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def do(client, action: str, *avatars: Avatar) -> str:
    chosen = [avatar.pk for avatar in avatars]
    answer = client.post(LIST, {"action": action, "_selected_action": chosen}, follow=True)
    assert answer.status_code == 200
    return " ".join(str(message) for message in answer.context["messages"])


def test_an_empty_list_says_how_it_fills(admin_client):
    assert "No user has an avatar of their own yet" in admin_client.get(LIST).content.decode()
    queued("bob")
    for query in ("", "?q=nobody"):
        page = admin_client.get(LIST + query).content.decode()
        assert "No user has an avatar" not in page


def test_every_stage_has_words_for_people():
    assert set(STAGES) == set(get_args(Stage))


def test_the_list_tells_how_far_each_is(admin_client, ready):
    avatar = queued("bob")
    Avatar.objects.filter(pk=avatar.pk).update(status=Status.PREPARING, percent=40, stage="cut")
    page = admin_client.get(f"{LIST}?q=b&status=preparing").content.decode()
    assert 'data-watch="/prepare_avatar/bob"' in page
    assert 'value="40"' in page
    assert "encoding the clips, 40 %" in page
    assert "anna" not in page
    page = admin_client.get(LIST).content.decode()
    assert 'src="/avatars/anna/thumbnail?1"' in page
    assert 'data-status="ready" data-watch=""' in page


def test_one_avatar_is_shown_with_its_clips_and_preview(admin_client, ready):
    page = page_of(admin_client, ready)
    assert "/avatars/anna/preview?1" in page
    assert "/avatars/anna/clips/idle_0?1" in page
    for action in ("make_default", "disable"):
        assert f'value="{action}"' in page
    assert 'value="cancel"' not in page


def test_what_was_found_is_reported(admin_client, ready, avatars_dir):
    said = manifest.read(avatars_dir / "anna")
    clip = {"name": "idle_0", "seam_px": 0.25, "usual_step_px": 0.5, "exits": 3}
    findings = [{"reason": "too_dark", "share": 0.2, "message": "the light is <poor>"}]
    said.report.update(found=0.995, usable=0.9, pictures=750, findings=findings, clips=[clip])
    manifest.write(avatars_dir / "anna", said)
    page = page_of(admin_client, ready)
    assert "99.5 %" in page
    assert "The light is &lt;poor&gt;" in page
    assert "seam 0.25 of 0.5 px, 3 exits" in page


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"video": video()}, "video"),
        ({"image": video("me.jpg")}, "image"),
        ({"clips": [video("idle_0.mp4"), video("speaking_1.mp4")]}, "clips"),
    ],
)
def test_staff_send_a_video_a_picture_or_clips(admin_client, avatars_dir, fields, kind):
    answer = admin_client.post(ADD, {"user_id": "anna", **fields}, follow=True)
    assert "was added successfully" in answer.content.decode()
    avatar = Avatar.objects.get()
    assert avatar.status == Status.QUEUED
    assert [path.name for path in (avatars_dir / ".uploads" / avatar.upload).iterdir()] == [kind]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user_id": "anna"}, "Send a video, a picture, or clips"),
        ({"user_id": "anna", "video": video(), "image": video()}, "Send a video, a picture"),
        ({"user_id": "anna", "clips": [video("holiday.mp4")]}, "no names of clips: holiday"),
        (
            {"user_id": "anna", "clips": [video("idle_0.mp4"), video("idle_0.mov")]},
            "Two files are for the same clip",
        ),
        ({"user_id": "../etc", "video": video()}, "1 to 64 letters"),
        ({"user_id": "a b", "video": video()}, "1 to 64 letters"),
        ({"user_id": "ä", "video": video()}, "1 to 64 letters"),
        ({"video": video()}, "required"),
    ],
)
def test_a_wrong_form_comes_back(admin_client, avatars_dir, fields, words):
    answer = admin_client.post(ADD, fields)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not Avatar.objects.exists()
    assert not avatars_dir.exists()


def test_a_better_video_replaces_the_first(admin_client, ready):
    where = f"{LIST}{ready.pk}/change/"
    admin_client.post(where, {"video": SimpleUploadedFile("new.mp4", b"better")})
    ready.refresh_from_db()
    assert (ready.status, ready.user_id, ready.has_pictures) == (Status.QUEUED, "anna", True)
    assert storage.source(ready.upload).read_bytes() == b"better"
    answer = admin_client.post(where, {"video": video()})
    assert "cancel that first" in answer.content.decode()


def test_saving_without_a_file_changes_nothing(admin_client, ready):
    assert admin_client.post(f"{LIST}{ready.pk}/change/", {}).status_code == 302
    ready.refresh_from_db()
    assert (ready.status, ready.version) == (Status.READY, "1")


def test_the_first_of_two_changes_wins(admin_client, monkeypatch):
    def refuse(**_: object) -> None:
        raise services.AvatarBusy("anna")

    monkeypatch.setattr(services, "avatar_receive", refuse)
    answer = admin_client.post(ADD, {"user_id": "anna", "video": video()}, follow=True)
    assert "It is being prepared already" in answer.content.decode()
    assert not Avatar.objects.exists()


def test_everything_that_can_be_done(admin_client, ready, avatars_dir):
    assert "anna: the default." in do(admin_client, "make_default", ready)
    assert "anna: disabled." in do(admin_client, "disable", ready)
    assert "anna: not ready." in do(admin_client, "make_default", ready)
    assert "anna: enabled." in do(admin_client, "enable", ready)
    assert "not uploaded here" in do(admin_client, "prepare_again", ready)
    bob = queued("bob")
    assert "Only one can be the default" in do(admin_client, "make_default", ready, bob)
    said = do(admin_client, "cancel", ready, bob)
    assert "bob: cancelled." in said
    assert "anna: not in progress." in said
    admin_client.post(
        LIST, {"action": "delete_selected", "_selected_action": [ready.pk], "post": "yes"}
    )
    assert not Avatar.objects.exists()
    assert not (avatars_dir / "anna").exists()


def test_a_failed_one_says_why_and_can_be_prepared_again(admin_client):
    queued()
    job = services.preparation_take()
    services.preparation_fail(job_id=job.job_id, reason="no_face", error="No <face>.")
    page = page_of(admin_client, job)
    assert "No &lt;face&gt;." in page
    assert "anna: queued." in do(admin_client, "prepare_again", job)


def test_preparing_again_says_that_the_sender_has_enough_in_progress(admin_client, settings):
    settings.MAX_PREPARATIONS_PER_SUBJECT = 1
    failed = queued()
    Avatar.objects.update(status=Status.FAILED, requested_by="key:1")
    queued("bob")
    Avatar.objects.filter(user_id="bob").update(requested_by="key:1")
    assert "MAX_PREPARATIONS_PER_SUBJECT" in do(admin_client, "prepare_again", failed)


def test_groups_may_do_what_their_names_say(client, ready):
    def log_in(group: str) -> None:
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        client.force_login(user)

    log_in("viewer")
    assert "avatar-videos" in page_of(client, ready)
    assert 'value="disable"' not in page_of(client, ready)
    assert client.post(ADD, {"user_id": "x", "video": video()}).status_code == 403
    do(client, "disable", ready)
    ready.refresh_from_db()
    assert ready.status == Status.READY

    log_in("operator")
    assert "anna: disabled." in do(client, "disable", ready)
    assert client.post(ADD, {"user_id": "x", "video": video()}).status_code == 302
    assert client.post(f"{LIST}{ready.pk}/delete/", {"post": "yes"}).status_code == 403

    log_in("administrator")
    assert client.post(f"{LIST}{ready.pk}/delete/", {"post": "yes"}).status_code == 302
    assert client.get("/admin/auth/user/").status_code == 200


def test_only_staff_come_in(client):
    assert client.get(LIST).status_code == 302
