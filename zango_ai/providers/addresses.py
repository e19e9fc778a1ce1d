"""Check a provider's address: only the public internet and the entries of ``ALLOWED_API_BASES`` are allowed.

A tenant types the address, and the server calls it: without a limit the tenant could reach the host's own
network through it. Listed are URL prefixes in ``ZANGO_AI["ALLOWED_API_BASES"]``; one port of a host does not
open another, one path not its neighbour.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION_V6 = ipaddress.IPv6Network("3fff::/20")
_INSIDE_V4 = [
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's own services, with metadata
    ipaddress.IPv4Network("192.0.0.0/24"),  # Oracle's metadata among them
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays
]
"""Not on the public internet, whatever the standard library's release says."""


@lru_cache(1024)
def is_listed(url: str, prefixes: tuple[str, ...]) -> bool:
    """Whether ``url`` is at or below one of ``prefixes``: the same scheme, host and port, a path below."""
    wanted = urlsplit(url)
    return any(_is_below(wanted, urlsplit(prefix)) for prefix in prefixes)


def _is_below(url: SplitResult, prefix: SplitResult) -> bool:
    origin = _origin(url)
    if origin is None or origin != _origin(prefix):
        return False
    path, above = _unquoted(url.path) or "/", _unquoted(prefix.path).rstrip("/") + "/"
    # A path with dots could climb out again on the server's side.
    return ".." not in path and "\\" not in path and f"{path.rstrip('/')}/".startswith(above)


def _unquoted(path: str) -> str:
    """However often it was quoted."""
    for _ in range(5):
        path, before = unquote(path), path
        if path == before:
            break
    return path


def _origin(url: SplitResult) -> tuple[str, str, int | None] | None:
    try:
        return url.scheme, (url.hostname or "").rstrip("."), url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None


def problem_of(api_base: str, prefixes: tuple[str, ...]) -> str | None:
    """What is wrong with an API base as it is written, without asking DNS; None if nothing is."""
    try:
        parts = urlsplit(api_base)
        host = (parts.hostname or "").rstrip(".")
        host.encode("idna")
        _ = parts.port
    except (ValueError, UnicodeError):
        return "It is no URL. Check the name of the host and the port."
    if parts.scheme not in _PORTS or not host or any(sign.isspace() for sign in api_base):
        return "It must begin with https:// or http:// and name a host."
    if parts.username or parts.password:
        return "It must hold no user name and no password; enter the key as the API key."
    if parts.query or parts.fragment:
        return "It must have no ? and no #."
    if is_listed(api_base, prefixes):
        return None
    origin = f"{parts.scheme}://{parts.netloc}"
    if _is_local_name(host):
        return refusal(host, origin, prefixes)
    try:
        inside = is_inside(host)
    except ValueError:
        return None  # a name: its address is looked at when the connection is made
    return refusal(host, origin, prefixes) if inside else None


def refusal(host: str, origin: str, prefixes: tuple[str, ...]) -> str:
    """Why an address is not allowed, which are, and the setting that allows this one, ready to paste."""
    entry = f"ZANGO_AI = {{'ALLOWED_API_BASES': {[*prefixes, origin]}}}"
    allowed = f"allows {', '.join(prefixes)}" if prefixes else "allows no address"
    return (
        f"{host} is inside this server's network, where ZANGO_AI['ALLOWED_API_BASES'] {allowed}. Enter an address "
        f"that begins with an allowed one, or ask the operator to add this one: {entry}"
    )


def problem_of_file(url: str, api_base: str, prefixes: tuple[str, ...]) -> str | None:
    """Why a provider at ``api_base`` may not fetch a file at ``url``; None if it may.

    A provider inside the network could fetch from the network for whoever gives it a URL. What a name resolves to
    now, it may not for the provider: a hostile DNS server can answer each another way.
    """
    if not is_listed(api_base, prefixes) or is_listed(url, prefixes):
        return None
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if _leads_inside(host, parts.port or _PORTS.get(parts.scheme, 443)):
        return (
            "its URL and the provider are both inside this server's network. Pass the content, or list the URL's "
            "beginning in ZANGO_AI['ALLOWED_API_BASES']."
        )
    return None


def _leads_inside(host: str, port: int) -> bool:
    if _is_local_name(host):
        return True
    try:
        return is_inside(host)
    except ValueError:
        pass
    try:
        return any(map(is_inside, resolve(host, port)))
    except (OSError, UnicodeError):
        return "." not in host  # a name of the network's own, that only its own DNS or hosts files know


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith((".localhost", ".internal", ".local"))


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
    if isinstance(ip, ipaddress.IPv4Address):
        return not ip.is_global or ip.is_multicast or any(ip in network for network in _INSIDE_V4)
    embedded = ip.ipv4_mapped or ip.sixtofour or _embedded(ip)
    if embedded is not None:
        return is_inside(str(embedded))
    return ip not in _GLOBAL_V6 or not ip.is_global or ip in _DOCUMENTATION_V6


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translator (RFC 6052) or a tunnel (ISATAP, RFC 5214) would make of it."""
    last = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    is_isatap = (int(ip) >> 32) & 0xFDFFFFFF == 0x00005EFE
    return last if ip in _NAT64 or is_isatap else None


def resolve(host: str, port: int) -> list[str]:
    """Every address of ``host``."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
