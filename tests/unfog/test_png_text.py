"""The texts of a PNG are found as Pillow wrote them; garbage is refused in a sentence and fills no memory."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jobs.request import JobRequest
from unfog import png_text
from unfog.errors import WrongArgument
from unfog.png_text import SIGNATURE, text_of
from unfog.recipe import FIELDS, recipe_of

MADE = {
    "model": "cats-32",
    "model_fingerprint": "1234",
    "engine": "cpu float32 strict",
    "sampler": "ddim",
    "steps": 50,
    "seed": 7,
    "class_label": None,
    "guidance_scale": 1.0,
    "eta": 0.0,
    "timestep_spacing": "trailing",
    "scale": 8,
}


def picture(kind: str, text: str, key: str = "unfog") -> bytes:
    """A PNG by Pillow with other texts before that one."""
    info = PngInfo()
    info.add_text("Software", "another program")
    info.add_text("unfogged", "no")
    if kind == "iTXt":
        info.add_itxt(key, text, lang="de", tkey="übersetzt")
    elif kind == "iTXt packed":
        info.add_itxt(key, text, zip=True)
    else:
        info.add_text(key, text, zip=kind == "zTXt")
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def said(png: bytes) -> tuple[str | None, str | None]:
    """The text, or why there is none."""
    try:
        return text_of(png, "unfog"), None
    except ValueError as error:
        return None, str(error)


END = chunk(b"IEND", b"")
latin = st.text(st.characters(max_codepoint=255, min_codepoint=1))


@given(latin)
def test_plain_and_packed_texts_are_as_pillow_wrote_them(text: str) -> None:
    for kind in ("tEXt", "zTXt"):
        assert text_of(picture(kind, text), "unfog") == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_international_texts_are_as_pillow_wrote_them(text: str) -> None:
    for kind in ("iTXt", "iTXt packed"):
        assert text_of(picture(kind, text), "unfog") == text


def test_a_picture_without_the_text_has_none() -> None:
    assert text_of(picture("tEXt", "x", key="Comment"), "unfog") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for png in (content, SIGNATURE + content, SIGNATURE + chunk(b"iTXt", b"unfog\0" + content) + END):
        text, refusal = said(png)
        assert text is None or refusal is None


@given(st.data())
def test_a_picture_cut_or_changed_anywhere_says_the_same_or_is_refused(data: st.DataObject) -> None:
    png = picture("zTXt", "the text")
    at = data.draw(st.integers(0, len(png) - 1))
    changed = png[:at] + bytes([png[at] ^ data.draw(st.integers(1, 255))]) + png[at + 1 :]
    for broken in (png[:at], changed):
        text, refusal = said(broken)
        assert text == "the text" or (refusal is not None and "PNG" in refusal)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(b"x" * 10_000)
    assert len(bomb) < 100
    monkeypatch.setattr(png_text, "MAX_TEXT", 9_999)
    for content in (b"unfog\0\0" + bomb, b"unfog\0\1\0\0\0" + bomb):
        kind = b"zTXt" if content.startswith(b"unfog\0\0") else b"iTXt"
        with pytest.raises(ValueError, match="more than 9999 bytes"):
            text_of(SIGNATURE + chunk(kind, content) + END, "unfog")


def test_a_chunk_that_claims_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        text_of(SIGNATURE + struct.pack(">I", 2**32 - 1) + b"tEXt" + b"unfog\0", "unfog")


def written(folder: Path, text: str, key: str = "unfog") -> Path:
    file = folder / "art.png"
    file.write_bytes(picture("iTXt", text, key))
    return file


def test_a_recipe_is_the_request_and_what_else_the_bytes_depend_on(tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps(MADE))
    recipe, png = recipe_of(file)
    assert recipe.model_fingerprint == "1234"
    assert recipe.engine == "cpu float32 strict"
    left_out = ("model_fingerprint", "engine", "class_label")
    assert recipe.fields == {name: value for name, value in MADE.items() if name not in left_out}
    assert png == file.read_bytes()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("{", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("[]", "no JSON object"),
        ("NaN", "no JSON object"),
        ({**MADE, "eta": float("nan")}, "no JSON object"),
        ({**MADE, "seed": [1]}, "parts inside parts"),
        ({**MADE, "webhook_url": "http://elsewhere"}, "webhook_url, which this unfog does not know"),
        ({**MADE, "num_images": 16}, "num_images, which this unfog does not know"),
        ({**MADE, "engine": None}, "which weights and engine"),
    ],
)
def test_a_text_that_is_no_recipe_is_refused(told: Any, reason: str, tmp_path: Path) -> None:
    file = written(tmp_path, told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(WrongArgument, match=reason):
        recipe_of(file)


def test_files_that_are_no_pictures_of_this_service_are_refused_by_name(tmp_path: Path) -> None:
    other = written(tmp_path, "{}", key="Comment")
    with pytest.raises(WrongArgument, match=r"art\.png: the PNG does not say how it was made"):
        recipe_of(other)
    other.write_text("hello")
    with pytest.raises(WrongArgument, match=r"art\.png: it is no PNG"):
        recipe_of(other)
    with other.open("ab") as file:
        file.truncate(300 * 2**20)  # sparse
    with pytest.raises(WrongArgument, match="larger than any"):
        recipe_of(other)
    with pytest.raises(FileNotFoundError):
        recipe_of(tmp_path / "none.png")


def test_a_recipe_has_fields_of_a_request_alone() -> None:
    assert set(JobRequest.model_fields) >= FIELDS
