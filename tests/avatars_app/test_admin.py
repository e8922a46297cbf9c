"""Avatars in the admin."""

import pytest

from avatars_app.models import Avatar

pytestmark = pytest.mark.django_db


def test_avatars_are_listed_and_shown(admin_client) -> None:
    avatar = Avatar.objects.create(user_id="anna", status=Avatar.Status.PREPARING, percent=40)
    listed = admin_client.get("/admin/avatars_app/avatar/?q=anna&status=preparing")
    assert "anna" in listed.content.decode()
    shown = admin_client.get(f"/admin/avatars_app/avatar/{avatar.pk}/change/")
    assert shown.status_code == 200


@pytest.mark.parametrize("user_id", ["../etc", "a b", "anna\n", "ä", ""])
def test_a_name_that_no_address_could_hold_is_refused(admin_client, user_id: str) -> None:
    answer = admin_client.post(
        "/admin/avatars_app/avatar/add/", {"user_id": user_id, "status": "queued"}
    )
    # A form strips white space, so that "anna\n" is saved as "anna".
    assert set(Avatar.objects.values_list("user_id", flat=True)) <= {"anna"}
    assert answer.status_code == (302 if user_id.strip() == "anna" else 200)


def test_only_staff_come_in(client) -> None:
    assert client.get("/admin/avatars_app/avatar/").status_code == 302
