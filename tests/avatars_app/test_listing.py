"""Whom /avatars shows which faces."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from avatars_app import services
from avatars_app.access.api_keys import make_key
from avatars_app.models import ApiKey
from tests.factories import make_avatar

pytestmark = pytest.mark.django_db
ELSEWHERE = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture(autouse=True)
def _avatars(avatars_dir, settings) -> None:
    """Two users', one that is shipped, and a default."""
    settings.DEFAULT_AVATAR = "everybody"
    make_avatar(settings.SHIPPED_AVATARS_DIR / "presenter", {"idle_0": 30}, name="presenter")
    for name in ("ann", "bob", "everybody"):
        make_avatar(avatars_dir / name, {"idle_0": 30}, name=name)
        services.avatar_adopt(user_id=name)


def key(avatars: str, role: str = "viewer") -> dict[str, str]:
    made, prefix, digest = make_key()
    ApiKey.objects.create(name="x", prefix=prefix, digest=digest, role=role, avatars=avatars)
    return {"HTTP_AUTHORIZATION": f"Bearer {made}", **ELSEWHERE}


def seen(client: Client, **headers: Any) -> set[str]:
    """Return the names in the list, which are those whose pages and pictures are there."""
    listed = client.get("/avatars", **headers)
    assert listed.status_code == 200
    names = {avatar["user_id"] for avatar in listed.json()}
    for name in ("ann", "bob", "everybody", "presenter"):
        for path in (f"/avatars/{name}", f"/avatars/{name}/thumbnail"):
            status = client.get(path, **headers).status_code
            assert (status == 200) == (name in names), (path, status)
    return names


ALL = {"ann", "bob", "everybody", "presenter"}
FOR_ALL = {"everybody", "presenter"}


def test_by_default_everybody_sees_all(settings) -> None:
    assert seen(Client(), **ELSEWHERE) == ALL


def test_without_a_list_strangers_see_what_is_everybody_s(settings) -> None:
    settings.LIST_AVATARS = False
    assert seen(Client(), **ELSEWHERE) == FOR_ALL
    assert seen(Client()) == ALL, "this machine"


def test_without_a_list_callers_see_their_own_and_operators_all(settings) -> None:
    settings.LIST_AVATARS = False
    settings.AUTH = True
    assert seen(Client(), **key("ann")) == FOR_ALL | {"ann"}
    assert seen(Client(), **key("")) == ALL, "a back end that opens streams of all"
    assert seen(Client(), **key("ann", "operator")) == ALL
    staff = Client()
    staff.force_login(User.objects.create_user("eve", is_staff=True))
    assert seen(staff, **ELSEWHERE) == ALL
    user = Client()
    user.force_login(User.objects.create_user("bob"))
    assert seen(user, **ELSEWHERE) == FOR_ALL | {"bob"}
