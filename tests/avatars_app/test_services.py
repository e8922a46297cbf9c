"""The life of an avatar's row: queued, taken, finished; and every way in which that goes wrong."""

import io
import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from avatars_app import asset_folders, services
from avatars_app.models import Avatar, WebhookEvent
from avatars_app.uploads import storage
from inference.assets import manifest
from tests.avatars_app.asset_folders import write_asset_folder

pytestmark = pytest.mark.django_db
Status = Avatar.Status


def send(user_id: str = "ann", content: bytes = b"a video") -> Avatar:
    return services.avatar_receive(
        user_id=user_id, kind="video", files={"video": io.BytesIO(content)}
    )


def make(job_id: uuid.UUID, version: str = "1", user_id: str = "ann") -> Path:
    made = asset_folders.job_folder(job_id) / user_id
    write_asset_folder(made, version=version)
    return made


def taken() -> Avatar:
    avatar = services.preparation_take()
    assert avatar is not None
    return avatar


def finished(version: str = "1") -> Avatar:
    avatar = taken()
    services.preparation_finish(job_id=avatar.job_id, made=make(avatar.job_id, version))
    asset_folders.forget_job(avatar.job_id)
    avatar.refresh_from_db()
    return avatar


def let_heart_stop(avatar: Avatar) -> None:
    then = timezone.now() - services.STALE_AFTER - timedelta(seconds=1)
    Avatar.objects.filter(pk=avatar.pk).update(heartbeat_at=then)


def kept_uploads(avatars_dir: Path) -> set[str]:
    return {path.name for path in (avatars_dir / ".uploads").iterdir()}


def test_from_upload_to_avatar(avatars_dir):
    avatar = send()
    assert avatar.status == Status.QUEUED
    assert storage.source(avatar.upload).read_bytes() == b"a video"

    avatar = taken()
    assert (avatar.user_id, avatar.status, avatar.attempts) == ("ann", Status.PREPARING, 1)
    services.preparation_note(job_id=avatar.job_id, stage="look", percent=20)
    avatar.refresh_from_db()
    assert (avatar.stage, avatar.percent) == ("look", 20)
    assert not avatar.has_pictures

    services.preparation_finish(job_id=avatar.job_id, made=make(avatar.job_id, "7"))
    avatar.refresh_from_db()
    assert (avatar.status, avatar.folder, avatar.version) == (Status.READY, "ann", "7")
    assert manifest.read(avatars_dir / "ann").version == "7"
    assert services.preparation_take() is None


def test_the_oldest_job_is_taken_first_and_each_once(avatars_dir):
    for name in ("one", "two", "three"):
        send(name)
    assert [taken().user_id for _ in range(3)] == ["one", "two", "three"]
    assert services.preparation_take() is None


def test_a_second_upload_while_one_is_in_progress_is_refused_and_not_kept(avatars_dir):
    first = send()
    for _ in range(2):
        with pytest.raises(services.AvatarBusy):
            send(content=b"another video")
        assert kept_uploads(avatars_dir) == {first.upload}
        services.preparation_take()


def test_the_old_avatar_stays_until_the_new_one_takes_its_place(avatars_dir):
    send()
    before = finished("old")
    after = send(content=b"a better video")
    assert after.has_pictures
    assert kept_uploads(avatars_dir) == {after.upload} != {before.upload}
    assert manifest.read(avatars_dir / "ann").version == "old"
    assert finished("new").version == "new"
    assert manifest.read(avatars_dir / "ann").version == "new"
    assert {path.name for path in avatars_dir.iterdir()} == {"ann", ".uploads", ".jobs"}
    assert list((avatars_dir / ".jobs").iterdir()) == []


def test_what_fails_says_why_and_the_old_avatar_stays(avatars_dir):
    send("new")
    job = taken()
    services.preparation_fail(job_id=job.job_id, reason="no_face", error="No face.")
    job.refresh_from_db()
    assert (job.status, job.error_reason, job.error) == (Status.FAILED, "no_face", "No face.")

    send()
    finished("old")
    send()
    job = taken()
    services.preparation_fail(job_id=job.job_id, reason="no_face", error="No face.")
    job.refresh_from_db()
    assert (job.status, job.error_reason) == (Status.READY, "no_face")


def test_a_dead_preparation_is_taken_again_and_given_up_after_three(avatars_dir):
    send()
    jobs = set()
    for attempt in range(1, services.MAX_ATTEMPTS + 1):
        avatar = taken()
        assert avatar.attempts == attempt
        jobs.add(avatar.job_id)
        assert services.preparation_take() is None
        let_heart_stop(avatar)
    assert len(jobs) == services.MAX_ATTEMPTS
    assert services.preparation_take() is None
    avatar.refresh_from_db()
    assert (avatar.status, avatar.error_reason) == (Status.FAILED, "died")
    assert storage.source(avatar.upload).exists()


def test_a_preparation_that_rests_is_not_taken_for_a_dead_one(avatars_dir):
    send()
    avatar = taken()
    let_heart_stop(avatar)
    assert services.preparation_rests(job_id=avatar.job_id)
    assert services.preparation_take() is None
    services.avatar_cancel(avatar=avatar)
    assert not services.preparation_rests(job_id=avatar.job_id)


def test_a_machine_whose_clock_is_ahead_takes_no_preparation_that_runs(avatars_dir, monkeypatch):
    send()
    avatar = taken()
    ahead = timezone.now() + timedelta(minutes=5)
    monkeypatch.setattr(services.timezone, "now", lambda: ahead)
    assert services.preparation_take() is None
    services.preparation_note(job_id=avatar.job_id, stage="cut", percent=10)


def test_a_child_that_was_only_slow_finds_itself_replaced(avatars_dir):
    send()
    slow = taken()
    let_heart_stop(slow)
    quick = taken()
    with pytest.raises(services.PreparationLost):
        services.preparation_note(job_id=slow.job_id, stage="cut", percent=80)
    with pytest.raises(services.PreparationLost):
        services.preparation_fail(job_id=slow.job_id, reason="x", error="x")
    with pytest.raises(services.PreparationLost):
        services.preparation_finish(job_id=slow.job_id, made=make(slow.job_id))
    assert not (avatars_dir / "ann").exists()
    services.preparation_note(job_id=quick.job_id, stage="look", percent=1)


@pytest.mark.parametrize(("has_failed", "attempts"), [(True, 1), (False, 0)])
def test_only_a_death_counts_as_an_attempt(avatars_dir, has_failed, attempts):
    send()
    avatar = taken()
    assert services.preparation_give_back(job_id=avatar.job_id, has_failed=has_failed)
    avatar.refresh_from_db()
    assert (avatar.status, avatar.attempts) == (Status.QUEUED, attempts)
    assert not services.preparation_give_back(job_id=avatar.job_id, has_failed=has_failed)


def test_an_avatar_that_is_ready_or_failed_is_reported(avatars_dir, settings):
    settings.WEBHOOK_URL = "https://example.org/"
    send()
    avatar = taken()
    services.preparation_fail(job_id=avatar.job_id, reason="no_face", error="There is no face.")
    send()
    avatar = taken()
    services.preparation_finish(job_id=avatar.job_id, made=make(avatar.job_id))
    failed, ready = WebhookEvent.objects.order_by("happened_at")
    assert (failed.type, ready.type) == ("avatar.failed", "avatar.ready")
    assert failed.data == {"user_id": "ann", "reason": "no_face", "error": "There is no face."}
    assert set(ready.data) == {"user_id", "version"}


def test_cancelling_the_first_preparation_leaves_nothing(avatars_dir):
    send()
    avatar = taken()
    assert services.avatar_cancel(avatar=avatar)
    assert not Avatar.objects.exists()
    assert kept_uploads(avatars_dir) == set()
    assert services.preparation_stage(job_id=avatar.job_id) is None
    with pytest.raises(services.PreparationLost):
        services.preparation_finish(job_id=avatar.job_id, made=make(avatar.job_id))
    assert not (avatars_dir / "ann").exists()
    assert not services.avatar_cancel(avatar=avatar)


def test_cancelling_a_later_one_leaves_what_was_there(avatars_dir):
    send()
    finished("old")
    send()
    avatar = taken()
    assert services.avatar_cancel(avatar=avatar)
    avatar.refresh_from_db()
    assert (avatar.status, avatar.percent, avatar.job_id) == (Status.READY, 100, None)
    assert manifest.read(avatars_dir / "ann").version == "old"


def test_a_folder_that_cannot_be_moved_leaves_all_as_it_was(avatars_dir, monkeypatch):
    send()
    finished("old")
    send()
    avatar = taken()
    made = make(avatar.job_id, "new")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == made:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="No space"):
        services.preparation_finish(job_id=avatar.job_id, made=made)
    avatar.refresh_from_db()
    assert avatar.status == Status.PREPARING
    assert manifest.read(avatars_dir / "ann").version == "old"


def test_a_damaged_result_is_not_put_in_place(avatars_dir):
    send()
    avatar = taken()
    made = make(avatar.job_id)
    (made / "manifest.json").write_text("{")
    with pytest.raises(manifest.AvatarInvalid):
        services.preparation_finish(job_id=avatar.job_id, made=made)
    assert not (avatars_dir / "ann").exists()


def test_removing_leaves_nothing(avatars_dir):
    send()
    avatar = finished()
    services.avatar_remove(avatar=avatar)
    assert not Avatar.objects.exists()
    files = [path for path in avatars_dir.rglob("*") if path.is_file()]
    assert files == []


def test_what_was_finished_while_it_is_removed_is_removed_too(avatars_dir):
    """Without a row its folder would be an avatar that everybody is shown."""
    send()
    read_before = Avatar.objects.get()
    finished()
    assert not services.avatar_cancel(avatar=read_before)
    services.avatar_remove(avatar=read_before)
    assert [path for path in avatars_dir.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_removed_keeps_its_row(avatars_dir, monkeypatch):
    send()
    avatar = finished()

    def refuse(folder: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asset_folders, "remove", refuse)
    with pytest.raises(PermissionError):
        services.avatar_remove(avatar=avatar)
    assert Avatar.objects.get().status == Status.READY
    assert kept_uploads(avatars_dir) == {avatar.upload}


def test_a_disabled_avatar_is_enabled_before_anything_else(avatars_dir):
    send()
    avatar = finished()
    assert services.avatar_make_default(avatar=avatar)
    assert services.avatar_disable(avatar=avatar)
    assert not services.avatar_disable(avatar=avatar)
    avatar.refresh_from_db()
    assert (avatar.status, avatar.is_default) == (Status.DISABLED, False)
    assert not services.avatar_make_default(avatar=avatar)
    with pytest.raises(services.AvatarDisabled):
        send()
    assert kept_uploads(avatars_dir) == {avatar.upload}
    assert services.avatar_enable(avatar=avatar)
    send()


def test_there_is_one_default(avatars_dir):
    for name in ("ann", "bob"):
        send(name)
        job = taken()
        made = make(job.job_id, user_id=name)
        services.preparation_finish(job_id=job.job_id, made=made)
        assert services.avatar_make_default(avatar=job)
    assert [avatar.user_id for avatar in Avatar.objects.filter(is_default=True)] == ["bob"]


def test_preparing_again_uses_what_was_sent(avatars_dir):
    send()
    avatar = finished()
    again = services.avatar_prepare_again(avatar=avatar)
    assert again.upload == avatar.upload
    assert storage.source(again.upload).read_bytes() == b"a video"
    services.avatar_cancel(avatar=again)
    again.refresh_from_db()
    storage.forget(again.upload)
    with pytest.raises(storage.UploadGone, match="send it again"):
        services.avatar_prepare_again(avatar=again)


def test_a_folder_without_a_row_stays_until_the_new_one_is_made(avatars_dir):
    write_asset_folder(avatars_dir / "ann", version="by hand")
    assert send().has_pictures
    assert services.avatar_cancel(avatar=taken())
    assert Avatar.objects.get().status == Status.READY


def test_a_folder_made_by_hand_is_adopted(avatars_dir):
    write_asset_folder(avatars_dir / "ann", version="by hand")
    avatar = services.avatar_adopt(user_id="ann")
    assert (avatar.status, avatar.version) == (Status.READY, "by hand")
    services.avatar_disable(avatar=avatar)
    assert services.avatar_adopt(user_id="ann").status == Status.DISABLED


def test_an_upload_is_not_given_up_for_a_folder_made_by_hand(avatars_dir):
    send()
    write_asset_folder(avatars_dir / "ann", version="by hand")
    job = taken()
    adopted = services.avatar_adopt(user_id="ann")
    assert (adopted.status, adopted.version) == (Status.PREPARING, "by hand")
    services.preparation_note(job_id=job.job_id, stage="look", percent=20)
    services.preparation_finish(job_id=job.job_id, made=make(job.job_id, "sent"))
    assert manifest.read(avatars_dir / "ann").version == "sent"


def test_names_that_differ_in_case_alone_share_no_folder(avatars_dir, monkeypatch):
    """Where the file system would let them, as on macOS."""
    send("Case")
    send("case")
    Avatar.objects.all().delete()
    monkeypatch.setattr(asset_folders, "ignores_case", lambda: True)
    first = send("Case")
    kept = kept_uploads(avatars_dir)
    with pytest.raises(services.AvatarTaken):
        send("case")
    assert kept_uploads(avatars_dir) == kept
    services.avatar_cancel(avatar=first)
    write_asset_folder(avatars_dir / "CASE", version="1")  # made by hand
    with pytest.raises(services.AvatarTaken):
        send("case")
    assert send("CASE").is_in_progress
    assert not Avatar.objects.exclude(user_id="CASE").exists()


def test_whether_the_file_system_ignores_case_is_tried(avatars_dir):
    assert not asset_folders.ignores_case() or (avatars_dir / ".JOBS").exists()
    (avatars_dir / ".JOBS").mkdir(parents=True, exist_ok=True)
    assert asset_folders.ignores_case()


def test_clips_are_kept_by_their_names_and_no_others(avatars_dir):
    files = {"idle_0": io.BytesIO(b"i"), "speaking_3": io.BytesIO(b"s")}
    source = storage.source(storage.keep("clips", files))
    assert {clip: path.read_bytes() for clip, path in source.items()} == {
        "idle_0": b"i",
        "speaking_3": b"s",
    }
    for name in ("../../evil", "idle_9", ""):
        with pytest.raises(ValueError, match="standard"):
            storage.keep("clips", {name: io.BytesIO(b"x")})
    assert len(kept_uploads(avatars_dir)) == 1


def test_an_upload_that_cannot_be_stored_leaves_nothing(avatars_dir):
    class Full(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        services.avatar_receive(user_id="ann", kind="video", files={"video": Full()})
    assert kept_uploads(avatars_dir) == set()
    assert not Avatar.objects.exists()


def test_what_nobody_wants_any_more_is_removed(avatars_dir):
    avatar = send()
    old, young = (
        storage.keep("video", {"": io.BytesIO()}),
        storage.keep("video", {"": io.BytesIO()}),
    )
    os.utime(avatars_dir / ".uploads" / old, (0, 0))
    os.utime(avatars_dir / ".uploads" / avatar.upload, (0, 0))
    storage.forget_others([avatar.upload])
    assert kept_uploads(avatars_dir) == {avatar.upload, young}

    lost, kept = uuid.uuid4(), uuid.uuid4()
    for job_id in (lost, kept):
        asset_folders.job_folder(job_id).mkdir(parents=True)
    asset_folders.forget_other_jobs([kept, None])
    assert not asset_folders.job_folder(lost).exists()
    assert asset_folders.job_folder(kept).exists()


def test_a_job_that_begins_while_others_are_cleaned_up_keeps_its_folder(avatars_dir):
    begun = uuid.uuid4()
    asset_folders.job_folder(uuid.uuid4()).mkdir(parents=True)

    def rows() -> Iterator[uuid.UUID]:
        yield from ()
        asset_folders.job_folder(begun).mkdir(parents=True)

    asset_folders.forget_other_jobs(rows())
    assert [path.name for path in (avatars_dir / ".jobs").iterdir()] == [begun.hex]
