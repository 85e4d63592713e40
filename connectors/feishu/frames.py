"""飞书长连接: the frames of the WebSocket, as bytes and as values.

A frame is one protobuf message (proto2, `pbbp2.Frame` of larksuite/oapi-sdk-python, MIT). Its few fields are spelt out
here: the platform's SDK would bring ten thousand generated files, two more HTTP stacks, and an event loop of its own
that cannot be stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

CONTROL, DATA = 0, 1
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True, slots=True)
class Frame:
    """`service` comes from the address, `method` is CONTROL or DATA."""

    method: int
    service: int
    headers: dict[str, str] = field(default_factory=dict)
    payload: bytes = b""
    seq_id: int = 0
    log_id: int = 0


def encode(frame: Frame) -> bytes:
    """A frame as the bytes of one WebSocket message."""
    made = b""
    for number, value in enumerate((frame.seq_id, frame.log_id, frame.service, frame.method), 1):
        made += _varint(number << 3 | _VARINT) + _varint(value)
    for name, text in frame.headers.items():
        made += _bytes(5, _bytes(1, name.encode()) + _bytes(2, text.encode()))
    return made + (_bytes(8, frame.payload) if frame.payload else b"")


def decode(raw: bytes) -> Frame:
    """The frame in a WebSocket message; fields it does not know are skipped. Raises ValueError."""
    numbers, headers, payload = {1: 0, 2: 0, 3: 0, 4: 0}, {}, b""
    for number, value in _fields(raw):
        if isinstance(value, int):
            if number in numbers:
                numbers[number] = value
        elif number == 5:
            pair = {at: text for at, text in _fields(value) if isinstance(text, bytes)}
            headers[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
        elif number == 8:
            payload = value
    return Frame(numbers[4], numbers[3], headers, payload, numbers[1], numbers[2])


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(raw):
        key, at = _read_varint(raw, at)
        if key & 7 == _VARINT:
            value, at = _read_varint(raw, at)
            yield key >> 3, value
            continue
        if key & 7 != _BYTES:
            raise ValueError(f"a field of wire type {key & 7}, expected 0 or 2")
        length, at = _read_varint(raw, at)
        if at + length > len(raw):
            raise ValueError("the frame is cut off")
        yield key >> 3, raw[at : at + length]
        at += length


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at + place >= len(raw):
            raise ValueError("the frame is cut off")
        value |= (raw[at + place] & 0x7F) << 7 * place
        if raw[at + place] < 0x80:
            return value, at + place + 1
    raise ValueError("a number of more than ten bytes")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value
