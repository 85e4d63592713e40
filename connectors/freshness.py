"""Whether a signed callback is of now. An old one is a replay, or the clock of this machine is wrong: both are said."""

from connectors.calls import Platform
from connectors.channel import Finding
from connectors.errors import ConnectorError

MILLISECONDS_FROM = 10**11  # as seconds it would be the year 5138
CLOCK_SECONDS = 300.0
STALE = "stale_timestamp"


def check_fresh(stamp: str, now: float, tolerance: float) -> None:
    """Raises ConnectorError where a callback's time, in seconds or milliseconds since 1970, is more than `tolerance`
    seconds away. For callbacks whose signature is right: what is wrong is said, for whoever runs the service."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 16):
        raise ConnectorError(STALE, "请求没有可读的时间", "The request has no readable time", status=403)
    at = int(stamp) / 1000 if int(stamp) >= MILLISECONDS_FROM else float(stamp)
    if abs(now - at) <= tolerance:
        return
    zh, en = _apart(now - at)
    raise ConnectorError(
        STALE,
        f"请求上的时间比本机时钟{zh}，没有采用：如果平台的消息都这样，是这台机器的时钟不准，请打开时间同步（NTP）；否则是重放的旧请求",
        f"The request's time is {en} this machine's clock; it was not taken: if all of the platform's are so, this "
        "machine's clock is wrong: turn on time synchronisation (NTP); otherwise it is an old request sent again",
        status=403,
    )


def clock_findings(platform: Platform, now: float) -> list[Finding]:
    """Where this machine's clock is minutes away from the platform's, by its last answer: what to do."""
    theirs = platform.clock()
    if theirs is None or abs(now - theirs) <= CLOCK_SECONDS:
        return []
    zh, en = _apart(theirs - now)
    return [
        Finding(
            ok=False,
            zh=f"这台机器的时钟比平台的{zh}：请打开时间同步（NTP），否则平台的消息会被当作过期的拒绝",
            en=f"this machine's clock is {en} the platform's: turn on time synchronisation (NTP), or its messages are "
            "refused as stale",
        )
    ]


def _apart(seconds: float) -> tuple[str, str]:
    """「早 2 小时」: positive where the first of two is behind the other."""
    minutes = round(abs(seconds) / 60)
    zh, en = (f"{minutes} 分钟", f"{minutes} minutes") if minutes < 120 else (
        f"{round(minutes / 60)} 小时", f"{round(minutes / 60)} hours")  # fmt: skip
    return (f"早 {zh}", f"{en} behind") if seconds > 0 else (f"晚 {zh}", f"{en} ahead of")
