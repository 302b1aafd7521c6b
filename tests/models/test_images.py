"""Images on their way to a model: their size, their encoding, their identity."""

import base64
import io

from PIL import Image

from delamo.models.images import data_url, image_digest, load_image


def test_a_large_image_is_made_smaller_where_there_is_a_cap(tmp_path):
    Image.new("RGB", (400, 100)).save(tmp_path / "wide.png")
    assert load_image(str(tmp_path / "wide.png"), 10_000).size == (200, 50)
    assert load_image(str(tmp_path / "wide.png"), 40_000).size == (400, 100)
    assert load_image(str(tmp_path / "wide.png"), None).size == (400, 100)
    assert load_image(None, 5) is None


def test_png_keeps_every_pixel():
    image = load_image("micro:pool/0/1", None)
    head, _, data = data_url(image, "PNG").partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == image.tobytes()


def test_an_image_is_known_by_its_bytes_wherever_it_lies(tmp_path):
    for name, color in (("a.png", "red"), ("b.png", "red"), ("c.png", "blue")):
        Image.new("RGB", (8, 8), color).save(tmp_path / name)
    first, moved, other = (image_digest(str(tmp_path / name)) for name in ("a.png", "b.png", "c.png"))
    assert first == moved != other
    assert image_digest("micro:pool/0/1") != image_digest("micro:pool/0/2")
