"""Calls out to a platform: its own hosts only, no redirects, a time limit, and every failure told apart."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from connectors.errors import DeliveryError

SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a platform answered. `json` is {} where the body is no JSON object."""

    status: int
    headers: Mapping[str, str]
    json: dict[str, Any]


class Platform:
    """One platform's API at `base`. `hosts` are the platform's further hosts, a leading dot for a whole domain."""

    def __init__(self, http: aiohttp.ClientSession, base: str, hosts: Sequence[str] = ()) -> None:
        self._http = http
        self.base = base.rstrip("/")
        self._hosts = tuple(hosts)
        self._began: float | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.base).netloc

    def clock(self) -> float | None:
        """The time that it is at the platform, in seconds since 1970, by its last answer; None where it never said."""
        return None if self._began is None else self._began + time.monotonic()

    def _note_time(self, headers: Mapping[str, str]) -> None:
        """Of a `Date` header (RFC 9110, 6.6.1), kept as when this machine's monotonic clock stood at zero."""
        with suppress(ValueError):
            self._began = parsedate_to_datetime(headers.get("Date", "")).timestamp() - time.monotonic()

    def owns(self, url: str) -> bool:
        """Whether an address that a message carried is the platform's own: no other is ever called."""
        try:
            parts, own = urlsplit(url), urlsplit(self.base)
            origin, ours = (parts.scheme, parts.hostname, parts.port), (own.scheme, own.hostname, own.port)
        except ValueError:
            return False
        if parts.username is not None or parts.password is not None or "\\" in url or not parts.hostname:
            return False
        if origin == ours:
            return True
        host = parts.hostname.lower()
        known = any(host.endswith(one) if one.startswith(".") else host == one for one in self._hosts)
        return known and parts.scheme == "https" and parts.port in (None, 443)

    async def call(
        self,
        method: str,
        place: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        seconds: float = SECONDS_MAX,
        judged: bool = True,
    ) -> Answer:
        """One call; `place` is a path under `base` or a whole address that the platform `owns`.

        Raises DeliveryError where there is no answer, where the address is not the platform's, and, unless the caller
        judges the status itself, where it is one of HTTP's "too many" or "at fault".
        """
        url = self.base + place if place.startswith("/") else place
        if not self.owns(url):
            raise DeliveryError(
                "foreign_address",
                "消息里的回复地址不属于该平台，没有调用",
                "The address to reply to is not the platform's and was not called",
                outcome="dead",
            )
        sent = dict(headers or {})
        if body is not None:
            # As it is written: some platforms show an escaped character as its escape.
            data = json.dumps(body, ensure_ascii=False).encode()
            sent.setdefault("Content-Type", "application/json; charset=utf-8")
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self._http.request(
                method, url, params=query, data=data, headers=sent, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await response.content.read(ANSWER_BYTES_MAX)
                while len(raw) < ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                    raw += more
                answer = Answer(response.status, dict(response.headers), _object(raw))
                self._note_time(answer.headers)
        except aiohttp.ClientSSLError as error:
            raise _untrusted(url) from error
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(url, uncertain=False) from error
        except TimeoutError as error:
            raise _silent(url, seconds) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(url, uncertain=True) from error
        if not judged:
            return answer
        if answer.status == 429:
            raise too_many(retry_after(answer.headers))
        if answer.status >= 500:
            raise DeliveryError(
                f"http_{answer.status}",
                f"对方暂时出错（HTTP {answer.status}）：回复会自动重试；一直如此请看对方的日志或状态页",
                f"The other side is at fault (HTTP {answer.status}): replies are tried again; if it stays so, look "
                "at its log or status page",
                retry_after=retry_after(answer.headers),
            )
        return answer


def too_many(seconds: float | None = None, *, whole_channel: bool = True) -> DeliveryError:
    """The platform asks for patience."""
    return DeliveryError(
        "rate_limited",
        "发送太快，对方要求放慢（HTTP 429 或限流）：回复会自动重试，请过一会儿再检查",
        "The other side asks to send more slowly: replies are tried again; check again in a while",
        retry_after=seconds,
        whole_channel=whole_channel,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110); a date counts as none: clocks differ."""
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(given), 86_400.0) if given.isascii() and given.isdigit() else None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unreachable(url: str, *, uncertain: bool) -> DeliveryError:
    host = urlsplit(url).netloc  # the path and the query may hold secrets
    return DeliveryError(
        "unreachable",
        f"连不上 {host}：请检查这台机器的网络、DNS 和防火墙",
        f"{host} cannot be reached: check this machine's network, DNS and firewall",
        uncertain=uncertain,
    )


def _silent(url: str, seconds: float) -> DeliveryError:
    host = urlsplit(url).netloc
    return DeliveryError(
        "no_answer",
        f"{host} 在 {seconds:g} 秒内没有应答：请检查对方的程序是否卡住，以及到它的网络和防火墙",
        f"{host} did not answer within {seconds:g} seconds: check whether its program hangs, and the network and "
        "firewall on the way",
        uncertain=True,
    )


def _untrusted(url: str) -> DeliveryError:
    host = urlsplit(url).netloc
    return DeliveryError(
        "no_trust",
        f"{host} 的 HTTPS 连接建立不了：请检查证书是否有效、是否受这台机器信任"
        "（自建 CA 用环境变量 SSL_CERT_FILE 指定），以及地址是否应为 http",
        f"{host} cannot be spoken to over HTTPS: check that its certificate is valid and trusted here (an authority of "
        "your own goes into the environment variable SSL_CERT_FILE), and whether the address should begin with http",
    )
