"""What one holder may do at most, by the settings: for subjects, and for addresses.

Limits of subjects hold where AUTH is on. Those of addresses are off by default, because people
behind one address are many; this machine, and proxies that TRUSTED_PROXIES names, have none.
"""

import ipaddress
import logging
from collections.abc import Callable, Mapping, Sequence

from django.conf import settings

from avatars_app.access.principal import Principal
from avatars_app.access.rates import Charge, RateCounter, Refusal

log = logging.getLogger(__name__)

MINUTE_S = 60
HOUR_S = 3_600
IPV6_SUBNET_BITS = 64
"""What one customer of a provider has at least; single addresses of it are free to choose."""

Spend = Callable[[Sequence[Charge]], Refusal | None]
"""Counts charges, and says which one is too many; may block, and is called in any thread."""

_spend: Spend = RateCounter().spend


def use(spend: Spend) -> None:
    """Count with ``spend`` from now on; before that each process counts for itself."""
    global _spend
    _spend = spend


def spend(charges: Sequence[Charge]) -> Refusal | None:
    """Count what a client wants to do; the refusal if it may not. May block."""
    return _spend(charges) if charges else None


def limited_address(address: str | None) -> str | None:
    """Return what the limits count an address as.

    Args:
        address: Of a client, after trusted proxies were asked for it; None: not known.

    Returns:
        The address, or for IPv6 its network; None if no limit holds for it.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_loopback or any(parsed in network for network in settings.TRUSTED_PROXIES):
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_SUBNET_BITS), strict=False))
    return str(parsed)


def connection_charges(address: str | None, principal: Principal | None) -> list[Charge]:
    """Return what one more connection counts, a minute."""
    return _charges(
        "connections",
        address,
        principal,
        (settings.MAX_CONNECTIONS_PER_ADDRESS, settings.MAX_CONNECTIONS_PER_SUBJECT),
        MINUTE_S,
    )


def upload_charges(address: str | None, principal: Principal | None) -> list[Charge]:
    """Return what one more upload counts, an hour."""
    return _charges(
        "uploads",
        address,
        principal,
        (settings.MAX_UPLOADS_PER_ADDRESS, settings.MAX_UPLOADS_PER_SUBJECT),
        HOUR_S,
    )


def session_limits(address: str | None, principal: Principal | None) -> Mapping[str, int]:
    """How many sessions each of a client's holders may have at a time."""
    return dict(
        _holders(
            address,
            principal,
            (settings.MAX_SESSIONS_PER_ADDRESS, settings.MAX_SESSIONS_PER_SUBJECT),
        )
    )


def kind_of(holder: str) -> str:
    """``subject`` or ``address``."""
    return holder.partition(":")[0]


def _charges(
    what: str,
    address: str | None,
    principal: Principal | None,
    amounts: tuple[int, int],
    per_s: int,
) -> list[Charge]:
    holders = _holders(address, principal, amounts)
    return [Charge(what, holder, amount, per_s) for holder, amount in holders]


def _holders(
    address: str | None, principal: Principal | None, amounts: tuple[int, int]
) -> list[tuple[str, int]]:
    """Each holder that has a limit, and the limit; the amounts are for address and subject."""
    per_address, per_subject = amounts
    holders = []
    if per_address and (counted := limited_address(address)) is not None:
        holders.append((f"address:{counted}", per_address))
    if per_subject and principal is not None:
        holders.append((f"subject:{principal.subject}", per_subject))
    return holders
