"""Whatever picture a caller sends becomes one of the model's size, or is refused before it costs anything."""

import base64
import io
import random
import struct
import time
import zlib
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw, PngImagePlugin
from redis import Redis

from app.init_image import MAX_JPEG_SCANS, MAX_PIXELS, Size, fitted
from jobs.errors import RequestRefused
from jobs.record import spec_of
from tests import cards
from tests.app.answers import errors

SIZE = Size(16, 12)


def uri(data: bytes, label: str = "image/png") -> str:
    return f"data:{label};base64,{base64.b64encode(data).decode()}"


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def opened(found: str) -> Image.Image:
    head, _, body = found.partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    image.load()
    return image


def fit(data: bytes, label: str = "image/png") -> Image.Image:
    return opened(fitted(uri(data, label), SIZE))


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(RequestRefused) as refused:
        fitted(text, SIZE)
    (wrong,) = refused.value.refusals
    assert wrong.pointer == "/init_image"
    return wrong.code, wrong.detail


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    return Image.frombytes(mode, size, random.Random(7).randbytes(size[0] * size[1] * len(mode)))


@pytest.mark.parametrize(("form", "label"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_a_picture_of_each_kind_becomes_rgb_of_the_models_size(form: str, label: str) -> None:
    found = fit(saved(Image.new("RGB", (100, 40), (200, 100, 50)), form), label)
    assert (found.mode, found.size, found.format) == ("RGB", (16, 12), "PNG")
    for channel, wanted in zip(found.getpixel((8, 6)), (200, 100, 50), strict=True):  # type: ignore[arg-type]
        assert abs(channel - wanted) <= 4


@pytest.mark.parametrize("label", ["image/gif", "text/plain;charset=utf-8", "", "IMAGE/PNG"])
def test_what_the_label_says_counts_for_nothing(label: str) -> None:
    assert fit(saved(Image.new("RGB", (16, 12), "red")), label).getpixel((0, 0)) == (255, 0, 0)


def test_one_that_is_too_wide_is_cropped_about_its_middle_and_not_squeezed() -> None:
    image = Image.new("RGB", (48, 12), "black")
    image.paste((0, 255, 0), (16, 0, 32, 12))
    assert fit(saved(image)).getcolors() == [(16 * 12, (0, 255, 0))]


def test_one_that_fits_keeps_every_pixel() -> None:
    image = noise((16, 12))
    assert fit(saved(image)).tobytes() == image.tobytes()


@pytest.mark.parametrize("size", [(16, 12), (1, 1), (160, 120), (7, 2000), (2000, 7)])
def test_what_has_been_made_is_made_the_same_again(size: tuple[int, int]) -> None:
    once = fitted(uri(saved(noise(size))), SIZE)
    assert fitted(once, SIZE) == once


def test_the_same_picture_in_another_file_is_the_same() -> None:
    image = noise((64, 64))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "made elsewhere")
    assert fitted(uri(saved(image)), SIZE) == fitted(uri(saved(image, pnginfo=text, compress_level=0)), SIZE)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_is_read(mode: str) -> None:
    assert fit(saved(Image.new(mode, (20, 20)))).mode == "RGB"


def test_what_is_see_through_is_on_white() -> None:
    for image in (Image.new("RGBA", (16, 12), (0, 0, 0, 0)), Image.new("LA", (16, 12), (0, 0))):
        assert fit(saved(image)).getcolors() == [(16 * 12, (255, 255, 255))]
    palette = Image.new("P", (16, 12), 0)
    palette.putpalette([10, 20, 30])
    assert fit(saved(palette)).getpixel((0, 0)) == (10, 20, 30)
    assert fit(saved(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_a_pixel_are_scaled_and_not_cut() -> None:
    assert fit(saved(Image.new("I;16", (16, 12), 32_768))).getpixel((0, 0)) == (127, 127, 127)


def test_cmyk_is_read() -> None:
    found = fit(saved(Image.new("CMYK", (16, 12), (0, 0, 0, 0)), "JPEG"), "image/jpeg")
    assert found.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_it_is_turned_as_exif_says(form: str) -> None:
    image = Image.new("RGB", (12, 16), "black")
    ImageDraw.Draw(image).rectangle((0, 0, 11, 7), fill="white")
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file: turn by 90° clockwise
    found = fit(saved(image, form, exif=exif, quality=95), "image/x")
    left, right = found.getpixel((2, 6)), found.getpixel((13, 6))
    assert min(right) > 200  # type: ignore[type-var]
    assert max(left) < 50  # type: ignore[type-var]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_one_that_moves_the_first_frame_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "blue", "lime")]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=50, lossless=True)
    assert fit(data).getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "not_a_data_uri"),
        ("https://example.com/a.png", "not_a_data_uri"),
        ("data:image/png,abc", "not_a_data_uri"),
        ("data:image/png;base64", "not_a_data_uri"),
        ("data:image/png;base64,%%%", "not_base64"),
        ("data:image/png;base64,iVBORw0KGgo", "not_base64"),
        ("data:image/png;base64,iVBO Rw0KGgo=", "not_base64"),
        ("data:image/png;base64,-_-_", "not_base64"),
        ("data:image/png;base64,é", "not_base64"),
        ("data:image/png;base64,", "not_an_image"),
        (uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "not_an_image"),
        (uri(saved(Image.new("RGB", (8, 8)), "GIF"), "image/png"), "not_an_image"),
        (uri(saved(Image.new("RGB", (8, 8)), "BMP"), "image/png"), "not_an_image"),
        (uri(saved(Image.new("RGB", (8, 8)), "TIFF"), "image/png"), "not_an_image"),
        (uri(b"\x89PNG\r\n\x1a\n"), "broken_image"),
        (uri(b"\xff\xd8\xff\xe0"), "broken_image"),
        (uri(b"RIFF\x00\x00\x00\x00WEBP"), "broken_image"),
        (uri(b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(14)), "broken_image"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(text: str, code: str) -> None:
    assert refusal(text)[0] == code


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_was_cut_is_refused_wherever_it_was(form: str) -> None:
    data = saved(noise((64, 64)), form)
    for share in (0.02, 0.1, 0.5, 0.9):
        assert refusal(uri(data[: int(len(data) * share)]))[0] == "broken_image"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_file_is_refused_or_read_and_nothing_else_happens(form: str) -> None:
    data, chance = saved(noise((32, 32)), form), random.Random(7)
    outcomes = set()
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            assert fit(bytes(damaged)).size == (16, 12)
            outcomes.add("read")
        except RequestRefused as refused:
            outcomes.add(refused.refusals[0].code)
    assert outcomes <= {"read", "broken_image", "too_many_pixels", "not_an_image"}
    assert len(outcomes) > 1


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def test_as_many_pixels_as_are_allowed_are_read_and_one_row_more_is_not() -> None:
    assert fit(saved(Image.new("L", (2048, 2048)), compress_level=1)).size == (16, 12)
    code, detail = refusal(uri(saved(Image.new("L", (2048, 2049)), compress_level=1)))
    assert code == "too_many_pixels"
    assert "2048 × 2049" in detail
    assert str(MAX_PIXELS) in detail


def vp8x(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sizes
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "bomb",
    [
        png_header(50_000, 50_000) + chunk(b"IDAT", zlib.compress(bytes(1_000_000))),
        png_header(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b""),
        png_header(2049, 2048) + chunk(b"IDAT", b""),
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda\x00\x0c"
        + bytes(20),
        vp8x(2**24, 2**24),
        vp8x(16_383, 16_383),
        b"RIFF\x20\x00\x00\x00WEBPVP8L\x14\x00\x00\x00\x2f\xff\xff\xff\x0f" + bytes(16),
        b"RIFF\x20\x00\x00\x00WEBPVP8 \x14\x00\x00\x00\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(16),
    ],
    ids=["png", "largest png", "barely", "jpeg", "webp", "webp of 268 megapixels", "lossless webp", "lossy webp"],
)
def test_a_bomb_is_refused_by_its_header_alone(bomb: bytes) -> None:
    assert refusal(uri(bomb))[0] == "too_many_pixels"


def test_text_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    data = saved(Image.new("RGB", (16, 12), "red"))
    for name in (b"zTXt", b"iCCP"):
        hidden = data[:33] + chunk(name, b"a\x00\x00" + bomb) + data[33:]
        try:
            assert fit(hidden).getpixel((0, 0)) == (255, 0, 0)
        except RequestRefused as refused:
            assert refused.refusals[0].code == "broken_image"  # noqa: PT017


def test_a_jpeg_of_a_thousand_scans_is_not_decoded_a_thousand_times() -> None:
    data = saved(noise((64, 64)), "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    assert fit(data).size == (16, 12)
    bomb = data[:-2] + data[scan:-2] * MAX_JPEG_SCANS + data[-2:]
    started = time.process_time()
    code, detail = refusal(uri(bomb))
    assert time.process_time() - started < 5
    assert code == "broken_image"
    assert "scans" in detail


# Through the API


def test_the_job_carries_the_picture_at_the_models_size_and_says_so(client: TestClient, redis: Redis) -> None:
    body = {"init_image": uri(saved(noise((100, 100)))), "steps": 10, "guidance_scale": 1}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    spec = spec_of(cards.fetch(redis, job["id"]))
    assert spec.init_image == job["request"]["init_image"]
    assert opened(job["request"]["init_image"]).size == (16, 16)
    assert (spec.strength, job["request"]["strength"]) == (0.5, 0.5)
    assert job["progress"]["total"] == 5, "half of the steps are walked"


def test_the_request_sent_again_means_the_same_picture(client: TestClient, redis: Redis) -> None:
    body = {"init_image": uri(saved(noise((300, 100)), "JPEG")), "strength": 0.7, "seed": 7}
    first = client.post("/v1/jobs", json=body).json()
    second = client.post("/v1/jobs", json=first["request"]).json()
    one, other = (spec_of(cards.fetch(redis, job["id"])) for job in (first, second))
    assert one == other.model_copy(update={"request_id": one.request_id})


def test_a_picture_that_is_none_is_pointed_at_and_leaves_nothing(client: TestClient, redis: Redis) -> None:
    found = errors(client.post("/v1/jobs", json={"init_image": uri(b"no picture")}))
    assert found["/init_image"][0] == "not_an_image"
    assert {key.decode() for key in redis.scan_iter()} == cards.CATALOGUE_KEYS


def test_what_else_is_wrong_is_told_before_the_picture_is_looked_at(client: TestClient) -> None:
    found = errors(client.post("/v1/jobs", json={"init_image": uri(b"no picture"), "sampler": "plms"}))
    assert found.keys() == {"/sampler"}


@pytest.mark.parametrize("dry", ["false", "true"])
def test_many_pictures_at_once_are_all_fitted(client: TestClient, dry: str) -> None:
    body = {"init_image": uri(saved(noise((64, 64))))}
    answers = [client.post(f"/v1/jobs?dry_run={dry}", json=body) for _ in range(5)]
    assert len({answer.json()["request"]["init_image"] for answer in answers}) == 1
