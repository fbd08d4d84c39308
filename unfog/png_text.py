"""The texts inside a PNG, read without decoding the picture (PNG specification, third edition, section 11.3.3)."""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_TEXT = 16 * 2**20
"""Bytes of a text, unpacked; a picture that another one started from is among them."""


def text_of(png: bytes, keyword: str) -> str | None:
    """The first text of that keyword, None without one.

    Raises `ValueError` for what is no PNG, is cut off or damaged, or holds a text that cannot be read.
    """
    for kind, content in _chunks(png):
        if kind in _READERS:
            name, separator, rest = content.partition(b"\0")
            if separator and name == keyword.encode("latin-1"):
                return _READERS[kind](rest)
    return None


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk up to IEND."""
    if not png.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    at = len(SIGNATURE)
    while True:
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 8 + length
        if len(png) < end + 4:
            raise ValueError("the PNG is cut off")
        if zlib.crc32(png[at + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            raise ValueError(f"the PNG is damaged at byte {at}: a checksum is wrong")
        if kind == b"IEND":
            return
        yield kind, png[at + 8 : end]
        at = end + 4


def _plain(content: bytes) -> str:
    return content.decode("latin-1")


def _packed(content: bytes) -> str:
    if content[:1] != b"\0":
        raise ValueError("the PNG has a text that is packed in an unknown way")
    return _unpack(content[1:]).decode("latin-1")


def _international(content: bytes) -> str:
    packed, method, rest = content[:1], content[1:2], content[2:]
    _language, first, rest = rest.partition(b"\0")
    _translated, second, text = rest.partition(b"\0")
    if not first or not second or packed not in (b"\0", b"\1") or (packed == b"\1" and method != b"\0"):
        raise ValueError("the PNG has a text that cannot be read")
    return (_unpack(text) if packed == b"\1" else text).decode("utf-8")


_READERS = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _international}


def _unpack(content: bytes) -> bytes:
    """Unpack with zlib, at most `MAX_TEXT` bytes: a small file may claim to hold gigabytes."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(content, MAX_TEXT)
    except zlib.error as error:
        raise ValueError(f"the PNG has a text that cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise ValueError(f"the PNG has a text that is cut off or has more than {MAX_TEXT} bytes")
    return text
