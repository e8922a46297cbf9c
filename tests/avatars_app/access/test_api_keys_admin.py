"""API keys in the admin: shown once, and who made, changed and revoked them is on record."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from avatars_app.access.api_keys import read_key
from avatars_app.access.principal import AccessDenied
from avatars_app.models import ApiKey

pytestmark = pytest.mark.django_db

LIST = "/admin/avatars_app/apikey/"
AUDIT = "/admin/admin/logentry/"
ACCOUNTS = "/admin/auth/user/"


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def log_in(name: str, group: str = "administrator") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def make(client: Client, **fields: str) -> str:
    """A new key, as the admin shows it."""
    page = client.post(
        f"{LIST}add/", {"name": "shop", "role": "viewer", "avatars": "", **fields}, follow=True
    )
    assert page.status_code == 200
    found = re.search(r"<code>(tak_[^<]+)</code>", page.content.decode())
    assert found is not None
    return found[1]


def test_who_made_changed_and_revoked_a_key_is_on_record(root):
    ann, bob = (log_in(name) for name in ("ann", "bob"))
    key = make(ann)
    row = ApiKey.objects.get()
    assert row.made_by == "ann"
    assert key not in ann.get(LIST).content.decode(), "it is shown once"
    change = {"name": "shop", "role": "operator", "avatars": "ada"}
    assert bob.post(f"{LIST}{row.pk}/change/", change).status_code == 302
    assert read_key(key).role == "operator"
    bob.post(LIST, {"action": "revoke", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.revoked_by == "bob"
    with pytest.raises(AccessDenied):
        read_key(key)
    acts = [
        (entry.user.get_username(), entry.get_change_message())
        for entry in LogEntry.objects.order_by("pk")
    ]
    assert acts == [
        ("ann", "Added."),
        ("bob", "Changed role from 'viewer' to 'operator', avatars from '' to 'ada'."),
        ("bob", "Revoked."),
    ]
    page = root.get(AUDIT).content.decode()
    for words in ("ann", "bob", "&#x27;viewer&#x27; to &#x27;operator&#x27;", "Revoked."):
        assert words in page
    assert key.split("_", 2)[2] not in page  # what is secret of it may have underscores, too
    listed = root.get(LIST).content.decode()
    for words in ("ann", "bob"):
        assert words in listed


def test_a_key_is_revoked_once_and_never_deleted(root):
    ann, bob = (log_in(name) for name in ("ann", "bob"))
    make(ann)
    row = ApiKey.objects.get()
    for client in (ann, bob):
        client.post(LIST, {"action": "revoke", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.revoked_by == "ann"
    assert root.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_keys_are_given_by_administrators_alone(group):
    client = log_in("eve", group)
    answer = client.post(f"{LIST}add/", {"name": "mine", "role": "administrator", "avatars": ""})
    assert answer.status_code == 403
    assert not ApiKey.objects.exists()


def test_an_account_that_did_something_is_not_deleted_with_its_record(root):
    ann = log_in("ann")
    idle = User.objects.create_user("idle")
    make(ann)
    account = User.objects.get(username="ann")
    page = f"{ACCOUNTS}{account.pk}/delete/"
    assert "log entry" in root.get(page).content.decode(), "what cannot be deleted with it"
    assert root.post(page, {"post": "yes"}).status_code == 403
    both = {"action": "delete_selected", "_selected_action": [account.pk, idle.pk], "post": "yes"}
    root.post(ACCOUNTS, both)
    assert User.objects.filter(username__in=["ann", "idle"]).count() == 2
    assert LogEntry.objects.filter(user=account).exists()
    alone = {"action": "delete_selected", "_selected_action": [idle.pk], "post": "yes"}
    root.post(ACCOUNTS, alone)
    assert not User.objects.filter(username="idle").exists()
