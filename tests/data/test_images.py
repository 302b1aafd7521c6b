"""Pictures: every broken one is an ImageError with a countable reason, every odd one an upright RGB picture."""

import copy
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from delamo.data.images import ImageError, open_image


def reason(locator, **options) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(str(locator), **options)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


@pytest.fixture
def red(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (6, 4), "red").save(path)
    return path


def test_opens_rgb(red):
    picture = open_image(str(red))
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (6, 4), (255, 0, 0))


def test_missing(tmp_path):
    assert reason(tmp_path / "none.png") == "image missing"
    assert reason(tmp_path) == "image missing"
    assert reason("/dev/zero") == "image missing"
    assert reason("/" + "x" * 5000) == "image missing"


def test_not_a_path(red):
    for locator in ("", "a\0b", "relative.png", "http://host/a.png", "file:///etc/passwd", "data:image/png;base64,AA"):
        assert reason(locator) == "image locator"


def test_broken_and_truncated(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    assert reason(text) == "image broken"
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-400])
    assert reason(cut) == "image broken"
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert reason(tmp_path / "empty.jpg") == "image broken"


def test_too_many_pixels(tmp_path, red, monkeypatch):
    assert reason(red, max_pixels=23) == "image too large"
    bomb = tmp_path / "bomb.png"
    Image.new("1", (8000, 7000)).save(bomb)  # 56 MP in a few kB
    assert reason(bomb) == "image too large"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow's own warning counts as an error
    assert reason(red) == "image too large"


def test_stays_inside_the_root(tmp_path, red):
    root = tmp_path / "root"
    root.mkdir()
    Image.new("RGB", (2, 2)).save(root / "in.png")
    (root / "link.png").symlink_to(red)
    assert open_image("in.png", image_root=root).size == (2, 2)
    assert open_image(str(root / "in.png"), image_root=root).size == (2, 2)
    for locator in ("../red.png", str(red), "link.png"):
        assert reason(locator, image_root=root) == "image outside root"


def test_exif_rotation(tmp_path):
    picture = Image.new("RGB", (6, 4), "blue")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(str(tmp_path / "turned.jpg")).size == (4, 6)


def test_a_tag_that_pillow_cannot_write_back_does_not_lose_the_picture(tmp_path):
    tags = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation: turned by a quarter
    tags += struct.pack("<HHI4s", 324, 2, 4, b"abc\0")  # a text where the standard has numbers
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + struct.pack("<I", 0)
    picture = Image.new("RGB", (32, 24), "red")
    picture.paste("blue", (0, 0, 32, 8))
    picture.save(tmp_path / "odd.jpg", exif=block)
    found = open_image(str(tmp_path / "odd.jpg"))
    assert (found.mode, found.size) == ("RGB", (24, 32))
    assert found.getpixel((22, 16))[2] > 200 and found.getpixel((2, 16))[0] > 200  # the top lies right
    assert ImageOps.exif_transpose(found).size == found.size  # it is not turned again


def test_a_block_of_exif_that_is_none_leaves_the_picture_as_it_lies(tmp_path):
    Image.new("RGB", (6, 4), "red").save(tmp_path / "none.jpg", exif=b"Exif\0\0no tags at all")
    assert open_image(str(tmp_path / "none.jpg")).size == (6, 4)


@pytest.mark.parametrize("error", [struct.error("bad"), KeyError("bad"), AssertionError("bad"), zlib.error("bad")])
def test_whatever_a_decoder_raises_is_a_broken_picture_that_is_named(red, monkeypatch, error):
    def load(self):
        raise error

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ImageError, match=r"image broken: .*red\.png: .*bad"):
        open_image(str(red))


def test_transparency_lies_on_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(str(tmp_path / "clear.png")).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 255, 0] * 256)
    palette.save(tmp_path / "clear.gif", transparency=0)
    assert open_image(str(tmp_path / "clear.gif")).getpixel((0, 0)) == (255, 255, 255)


def test_other_modes(tmp_path):
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    assert open_image(str(tmp_path / "cmyk.jpg")).getpixel((0, 0))[0] > 200
    Image.fromarray(np.full((2, 2), 32768, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert open_image(str(tmp_path / "deep.png")).getpixel((0, 0)) == (127, 127, 127)
    Image.fromarray(np.full((2, 2), 0.5, dtype=np.float32)).save(tmp_path / "float.tiff")
    assert open_image(str(tmp_path / "float.tiff")).getpixel((0, 0)) == (127, 127, 127)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("lime", "red")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert open_image(str(tmp_path / "two.gif")).getpixel((0, 0)) == (0, 255, 0)


def test_error_crosses_a_process_border():
    error = copy.copy(ImageError("image missing", "x.png"))  # by the same road as a pickle
    assert (error.reason, error.detail) == ("image missing", "x.png")
