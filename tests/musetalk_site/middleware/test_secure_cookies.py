"""Cookies over HTTPS, and over HTTP on this machine."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize("is_secure", [True, False])
def test_a_cookie_that_goes_over_https_is_for_https_alone(is_secure: bool):
    User.objects.create_superuser("root", password="of the tests")
    client = Client()
    page = client.get("/admin/login/", secure=is_secure)
    assert bool(page.cookies["csrftoken"]["secure"]) is is_secure
    login = {"username": "root", "password": "of the tests"}
    answer = client.post("/admin/login/", login, secure=is_secure)
    assert answer.status_code == 302
    assert bool(answer.cookies["sessionid"]["secure"]) is is_secure
    assert answer.cookies["sessionid"]["httponly"]
    assert answer.cookies["sessionid"]["samesite"] == "Lax"
