"""Where a provider's address may lead: the public internet, and what the operator lists.

A tenant types the address, and the server calls it: without a limit the tenant could reach the host's own
network through it. Listed are URL prefixes in ``ZANGO_AI["ALLOWED_API_BASES"]``; one port of a host does not
open another, one path not its neighbour.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(Exception):
    """The address leads into the host's network, and is not listed."""


def is_listed(url: str, prefixes: Iterable[str]) -> bool:
    """Whether ``url`` is at or below one of ``prefixes``: the same scheme, host and port, a path below."""
    wanted = urlsplit(url)
    return any(_is_below(wanted, urlsplit(prefix)) for prefix in prefixes)


def _is_below(url: SplitResult, prefix: SplitResult) -> bool:
    if _origin(url) != _origin(prefix):
        return False
    path, above = unquote(url.path) or "/", unquote(prefix.path).rstrip("/") + "/"
    # A path with dots could climb out again on the server's side.
    return ".." not in path.split("/") and f"{path.rstrip('/')}/".startswith(above)


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    try:
        port = url.port
    except ValueError:
        port = None
    return url.scheme, (url.hostname or "").rstrip("."), port or _PORTS.get(url.scheme)


def problem_of(api_base: str, prefixes: Iterable[str]) -> str | None:
    """What is wrong with an API base as it is written, without asking DNS; None if nothing is."""
    parts = urlsplit(api_base)
    if parts.scheme not in _PORTS or not parts.hostname:
        return "It must begin with https:// or http:// and name a host."
    if parts.username or parts.password:
        return "It must hold no user name and no password; enter the key as the API key."
    if parts.query or parts.fragment:
        return "It must have no ? and no #."
    if is_listed(api_base, prefixes):
        return None
    if parts.hostname.rstrip(".") == "localhost" or parts.hostname.endswith((".localhost", ".internal", ".local")):
        return refusal(parts.hostname)
    try:
        inside = is_inside(parts.hostname)
    except ValueError:
        return None  # a name: its address is looked at when the connection is made
    return refusal(parts.hostname) if inside else None


def refusal(host: str) -> str:
    return f"{host} is inside this server's network. The operator can allow it in ZANGO_AI['ALLOWED_API_BASES']."


def is_inside(address: str) -> bool:
    """Whether an IP address, in any spelling of it, is not on the public internet. ValueError for a name."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        # 127.1, 0x7f000001 and 2130706433 are spellings of 127.0.0.1 that the system's resolver takes.
        try:
            ip = ipaddress.ip_address(socket.inet_aton(address))
        except OSError:
            raise ValueError(f"{address!r} is no IP address") from None
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = (
            ip.ipv4_mapped
            or ip.sixtofour
            or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        )
        if embedded is not None:
            return is_inside(str(embedded))
    return not ip.is_global or ip.is_multicast


def resolve(host: str, port: int) -> list[str]:
    """Every address of ``host``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
