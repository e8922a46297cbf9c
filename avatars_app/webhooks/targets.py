"""To which addresses webhooks may be sent.

A name can point anywhere, also into the network of the server, and tomorrow elsewhere. So the name
is resolved once, every address that it has is judged, and the connection goes to one of those.
"""

import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class TargetRefused(Exception):
    """Nothing may be sent there; the message says why."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet, and no address in disguise of another network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def check_addresses(host: str, addresses: Iterable[str], *, allow_private: bool) -> list[str]:
    """Return the addresses of a host, if something may be sent to it.

    Args:
        host: Its name.
        addresses: What it resolves to.
        allow_private: Whether addresses of private networks and of this machine are allowed.

    Raises:
        TargetRefused: One of them is not allowed.
    """
    found = list(dict.fromkeys(addresses))
    if allow_private:
        return found
    for text in found:
        if not is_public(ipaddress.ip_address(text.partition("%")[0])):
            raise TargetRefused(
                f"{host} is {text}, which is no address of the internet; "
                "WEBHOOK_PRIVATE_TARGETS=true allows such targets."
            )
    return found


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Return the addresses of a host that may be connected to. Waits for the resolver.

    Raises:
        TargetRefused: One of them is not allowed.
        OSError: The name is not known.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return check_addresses(host, [str(info[4][0]) for info in infos], allow_private=allow_private)
