"""Whose request it is: the address behind trusted proxies, and whether it comes from our own pages."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@lru_cache(maxsize=4096)
def _trusted(address: str, proxies: tuple[str, ...]) -> bool:
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(one in ipaddress.ip_network(proxy, strict=False) for proxy in proxies)


def client_address(request: web.Request, trusted_proxies: tuple[str, ...]) -> str:
    """The client's IP address: the last `X-Forwarded-For` hop that is no trusted proxy, where the peer is one."""
    peer = request.remote or ""
    if not _trusted(peer, trusted_proxies):
        return peer
    hops = [hop.strip() for hop in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",") if hop.strip()]
    for hop in reversed(hops):
        if not _trusted(hop, trusted_proxies):
            try:
                return str(ipaddress.ip_address(hop))
            except ValueError:
                return peer  # not an address: nothing left of it can be believed
    return hops[0] if hops else peer


def is_https(request: web.Request, trusted_proxies: tuple[str, ...]) -> bool:
    """Whether the visitor's own connection is encrypted, as a trusted proxy tells."""
    if request.secure:
        return True
    return _trusted(request.remote or "", trusted_proxies) and request.headers.get("X-Forwarded-Proto") == "https"


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_same_origin(request: web.Request) -> bool:
    """Whether a browser sent it from our own pages: by `Sec-Fetch-Site`, else by `Origin` (OWASP, CSRF prevention).

    True where neither header is there: that is no browser, and cookies are `SameSite=Strict` besides.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()


def is_allowed_origin(request: web.Request, widget_origins: Sequence[str]) -> bool:
    """Whether a page of this `Origin` may talk to a visitor's endpoints: our own, one listed, or no browser at all."""
    origin = request.headers.get("Origin")
    if origin is None or urlsplit(origin).netloc.lower() == request.host.lower():
        return True
    return "*" in widget_origins or origin.rstrip("/").lower() in widget_origins
