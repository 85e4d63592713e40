"""The pages: chat, widget and console, from memory.

Every asset's address holds the digest of all of them, so browsers keep it for ever and a new version has a new one;
the pages and the widget themselves are asked for again each time and answered 304 where nothing moved.
"""

import functools
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import hdrs, web

from bot import keys

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".csv": "text/csv; charset=utf-8",
}
PAGES = {".html"}
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; object-src 'none'; frame-ancestors {ancestors}"
)
FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent. `packed` is its gzip form, empty where that is not shorter."""

    body: bytes
    packed: bytes
    content_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """All files of `bot/web` by their path in it, and the digest of them together."""

    digest: str
    assets: dict[str, Asset]


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for child in sorted(folder.iterdir(), key=lambda each: each.name):
        if child.is_dir():
            found += _walk(child, f"{prefix}{child.name}/")
        elif suffix(child.name) in CONTENT_TYPES:
            found.append((prefix + child.name, child.read_bytes()))
    return found


def suffix(name: str) -> str:
    """The file name's ending with its dot, `.css`; empty where it has none."""
    return name[name.rfind(".") :] if "." in name else ""


def _asset(name: str, body: bytes) -> Asset:
    packed = gzip.compress(body, mtime=0)
    return Asset(
        body=body,
        packed=packed if len(packed) < len(body) else b"",
        content_type=CONTENT_TYPES[suffix(name)],
        tag=hashlib.sha256(body).hexdigest()[:24],
    )


@functools.cache
def bundle() -> Bundle:
    """The files of `bot/web`, read once; pages have the digest written into the addresses they name."""
    contents = _walk(files("bot") / "web")
    digest = hashlib.sha256(b"\0".join(name.encode() + b"\0" + body for name, body in contents)).hexdigest()[:16]
    assets = {}
    for name, body in contents:
        filled = body.replace(b"{{digest}}", digest.encode()) if suffix(name) in PAGES else body
        assets[name] = _asset(name, filled)
    return Bundle(digest, assets)


def _send(request: web.Request, asset: Asset, cache: str, ancestors: str = "") -> web.Response:
    headers = {hdrs.CACHE_CONTROL: cache, hdrs.VARY: "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    if ancestors:
        headers["Content-Security-Policy"] = POLICY.format(ancestors=ancestors)
        headers["Referrer-Policy"] = "same-origin"
    packed = bool(asset.packed) and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
    # Two encodings of one file are two representations, so they have two tags (RFC 9110, 8.8.3).
    tag = f"{asset.tag}-gz" if packed else asset.tag
    headers[hdrs.ETAG] = f'"{tag}"'
    if any(each.value in (tag, "*") for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = asset.content_type
    if packed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=asset.packed if packed else asset.body, headers=headers)


async def chat(request: web.Request) -> web.Response:
    """The hosted chat page; other sites may frame it only where the settings list them."""
    ancestors = " ".join(["'self'", *request.app[keys.SETTINGS].widget_origins])
    return _send(request, bundle().assets["chat.html"], ASK_AGAIN, ancestors)


async def widget(request: web.Request) -> web.Response:
    """The script other sites embed."""
    response = _send(request, bundle().assets["widget.js"], ASK_AGAIN)
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


async def widget_demo(request: web.Request) -> web.Response:
    """A page as a shop's own would be, with the widget on it."""
    return _send(request, bundle().assets["widget-demo.html"], ASK_AGAIN, "'none'")


async def console(request: web.Request) -> web.Response:
    """The staff pages; nobody may frame them."""
    return _send(request, bundle().assets["console.html"], ASK_AGAIN, "'none'")


async def console_folder(request: web.Request) -> web.Response:
    """Any address below /console is the console: its rooms live behind the `#`."""
    up = "../" * request.match_info["rest"].count("/")
    raise web.HTTPFound(f"{up}../console")


async def asset(request: web.Request) -> web.Response:
    """A style sheet, module or picture. An address of another version gets today's file, and is not kept."""
    pack = bundle()
    found = pack.assets.get(request.match_info["path"])
    if found is None or found.content_type.startswith("text/html"):
        raise web.HTTPNotFound
    return _send(request, found, FOREVER if request.match_info["digest"] == pack.digest else ASK_AGAIN)


async def icon(request: web.Request) -> web.Response:
    """The picture browsers ask for by themselves."""
    return _send(request, bundle().assets["shared/icon.svg"], ASK_AGAIN)


async def front(_: web.Request) -> web.Response:
    """The bare address leads to the chat."""
    raise web.HTTPFound("chat")


routes: list[web.RouteDef] = [
    web.get("/", front),
    web.get("/chat", chat),
    web.get("/chat/widget-demo", widget_demo),
    web.get("/widget.js", widget),
    web.get("/console", console),
    web.get("/console/{rest:.*}", console_folder),
    web.get("/favicon.ico", icon),
    web.get("/assets/{digest}/{path:.+}", asset),
]
