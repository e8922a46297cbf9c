"""An address that cannot be had: the reason, and what to do."""

import errno
import os
import socket

import pytest

from musetalk_site.listening import cannot_listen


@pytest.mark.parametrize(
    ("host", "port", "number", "advice"),
    [
        ("0.0.0.0", 8000, errno.EADDRINUSE, "`PORT=8001 make run`"),
        ("127.0.0.1", 65_535, errno.EADDRINUSE, "`PORT=65534 make run`"),
        ("0.0.0.0", 80, errno.EACCES, "from 1024 on"),
        ("192.0.2.1", 8000, errno.EADDRNOTAVAIL, "HOST is '192.0.2.1'"),
    ],
)
def test_each_reason_has_its_advice(host: str, port: int, number: int, advice: str) -> None:
    said = cannot_listen(host, port, OSError(number, os.strerror(number)))
    assert advice in said
    assert os.strerror(number) in said
    assert "[Errno" not in said


def test_a_name_that_is_no_host() -> None:
    with pytest.raises(socket.gaierror) as unknown:
        socket.getaddrinfo("no.such.host.invalid", 80)
    assert "HOST is 'no.such.host.invalid'" in cannot_listen(
        "no.such.host.invalid", 80, unknown.value
    )
