"""Addresses that webhooks may go to."""

import ipaddress
import socket

import pytest

from avatars_app.webhooks import targets
from avatars_app.webhooks.targets import TargetRefused, check_addresses, is_public, resolve

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
OTHERS = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1"),
    *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OTHERS)
def test_all_other_addresses(address):
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(TargetRefused, match="WEBHOOK_PRIVATE_TARGETS"):
        check_addresses("example.org", ["8.8.8.8", address], allow_private=False)
    assert check_addresses("example.org", [address], allow_private=True) == [address]


def test_a_name_is_judged_by_what_it_resolves_to(monkeypatch):
    def lookup(host, port, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(targets.socket, "getaddrinfo", lookup)
    with pytest.raises(TargetRefused, match=r"example\.org is 169\.254\.169\.254"):
        resolve("example.org", 443, allow_private=False)
