"""The pages as a browser asks for them: types, tags, encodings, and who may frame them."""

import gzip
import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from bot import keys
from bot.api import pages
from bot.config import load_settings
from knowledge.readers import read

WEB = Path(pages.__file__).parents[1] / "web"


@pytest.fixture
async def client(aiohttp_client, tmp_path) -> TestClient:
    app = web.Application()
    app[keys.SETTINGS] = load_settings({"data": tmp_path, "widget_origins": ["https://shop.example"]})
    app.add_routes(pages.routes)
    return await aiohttp_client(app, auto_decompress=False)


async def addresses(client: TestClient, page: str) -> list[str]:
    text = gzip.decompress(await (await client.get(page, headers={"Accept-Encoding": "gzip"})).read()).decode()
    return re.findall(r'(?:src|href)="(\S*assets/[^"]+)"', text)


@pytest.mark.parametrize("page", ["/chat", "/console", "/chat/widget-demo"])
async def test_page_names_assets_that_exist_and_keep(client, page):
    found = await addresses(client, page)
    assert found
    for address in found:
        response = await client.get(f"/{address.removeprefix('../')}")
        assert response.status == 200, address
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_page_without_change_is_not_sent_again(client):
    first = await client.get("/chat")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get("/chat", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get("/chat", headers={"If-None-Match": '"another"'})
    assert other.status == 200


async def test_encodings_are_two_representations(client):
    plain = await client.get("/widget.js", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/widget.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(await packed.read()) == await plain.read() == (WEB / "widget.js").read_bytes()
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert plain.headers["Content-Type"].startswith("text/javascript")
    assert plain.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_only_listed_sites_frame_the_chat_and_none_the_console(client):
    chat = (await client.get("/chat")).headers["Content-Security-Policy"]
    console = (await client.get("/console")).headers["Content-Security-Policy"]
    assert "frame-ancestors 'self' https://shop.example" in chat
    assert "frame-ancestors 'none'" in console
    for policy in (chat, console):
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy


@pytest.mark.parametrize(
    "path",
    [
        "/assets/x/../../../config.py",
        "/assets/x/%2e%2e/%2e%2e/config.py",
        "/assets/x/..%2f..%2fconfig.py",
        "/assets/x/chat.html",
        "/assets/x/nothing.js",
    ],
)
async def test_nothing_but_assets_is_served(client, path):
    assert (await client.get(path)).status == 404


async def test_asset_of_another_version_is_not_kept(client):
    response = await client.get("/assets/0000000000000000/shared/dom.js")
    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-cache"


async def test_bare_and_deep_addresses_lead_somewhere(client):
    assert (await client.get("/", allow_redirects=False)).headers["Location"] == "chat"
    for deep in ("/console/", "/console/training", "/console/a/b"):
        response = await client.get(deep)
        assert (response.status, response.url.path) == (200, "/console")


def test_pages_have_no_inline_scripts_or_styles():
    for page in WEB.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", text.split("<pre>")[0]), page.name


MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")


def test_scripts_never_parse_markup_and_ask_nobody_else():
    for script in WEB.rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            script
        )
        outside = set(re.findall(r"https?://[\w.-]+", text)) - {"http://www.w3.org", "https://html.spec.whatwg.org"}
        assert all("example" in address for address in outside), (script, outside)


def test_the_template_can_be_imported_as_it_is(tmp_path):
    script = (WEB / "console" / "rooms" / "imports.js").read_text(encoding="utf-8")
    templates = re.findall(r"^  (?:zh|en): '(.+)',$", script, re.MULTILINE)
    assert len(templates) == 2
    for template in templates:
        file = tmp_path / "template.csv"
        file.write_text("\ufeff" + template.replace("\\n", "\n"), encoding="utf-8")
        found = read(file, file.name)
        assert not found.problems
        assert [(len(entry.similar_questions), bool(entry.category)) for entry in found.entries] == [
            (2, True),
            (1, True),
        ]


# The texts: one dictionary of [Chinese, English].

ENTRY = re.compile(r'^  (\w+): \["((?:[^"\\]|\\.)*)", "((?:[^"\\]|\\.)*)"\],$')


def texts() -> dict[str, tuple[str, str]]:
    lines = (WEB / "shared" / "text.js").read_text(encoding="utf-8").splitlines()
    matches = [ENTRY.match(line) for line in lines if re.match(r"  \w+:", line)]
    assert all(matches)
    keys_ = [match[1] for match in matches if match]
    assert len(keys_) == len(set(keys_)), "a key twice"
    return {match[1]: (match[2], match[3]) for match in matches if match}


def test_every_text_is_in_both_languages_with_the_same_places():
    for key, (chinese, english) in texts().items():
        assert chinese, key
        assert english, key
        assert set(re.findall(r"\{\w+\}", chinese)) == set(re.findall(r"\{\w+\}", english)), key
        assert key == "other_language" or not re.search(r"[\u4e00-\u9fff]", english), key


def test_every_text_that_scripts_name_exists_and_none_is_left_over():
    source = "\n".join(path.read_text(encoding="utf-8") for path in WEB.rglob("*.js") if path.name != "text.js")
    named = set(re.findall(r'"([a-z][a-z0-9_]+)"', source))
    asked = set(re.findall(r'\bt\(\s*"([a-z0-9_]+)"', source))
    composed = re.findall(r"\b(?:t|known)\(`([a-z_]*)\$\{[^}]*\}([a-z_]*)`", source)
    have = set(texts())
    assert asked <= have
    assert composed
    reachable = named | {
        key for key in have for start, end in composed if start + end and key.startswith(start) and key.endswith(end)
    }
    reachable |= {key for key in have if re.match(r"(would|was)_", key)}
    assert have <= reachable
