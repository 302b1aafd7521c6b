"""The key of a request: every field counts, an image by its bytes."""

import dataclasses

from support.fake_service import service_named

from delamo.models.api.requests import Request, Service
from delamo.models.teachers.config import Api

SERVICE = service_named("openai/m", api_base="http://x", max_image_pixels=4096)
REQUEST = Request(text="one", max_tokens=9)
CHANGES = [
    *({"model": "openai/n"}, {"revision": "r"}, {"api": Api.completions}, {"api_base": "http://y"}),
    *({"reasoning_effort": "none"}, {"image_detail": "low"}, {"max_image_pixels": 1}),
    *({"text": "two"}, {"image": "micro:pool/0/1"}, {"max_tokens": 8}, {"temperature": 1.0}, {"top_logprobs": 5}),
    *({"token_ids": (1,)}, {"stop": ("\n",)}, {"sample": 1}),
]


def test_every_field_is_in_the_key():
    def key(**changes):
        def of(cls):
            names = {field.name for field in dataclasses.fields(cls)}
            return {name: value for name, value in changes.items() if name in names}

        service = dataclasses.replace(SERVICE, **of(Service))
        return dataclasses.replace(REQUEST, **of(Request)).key(service)

    fields = {field.name for cls in (Service, Request) for field in dataclasses.fields(cls)}
    assert {name for change in CHANGES for name in change} == fields
    assert len({key(), *(key(**change) for change in CHANGES)}) == len(CHANGES) + 1
    assert key() == key(text="one")


def test_a_picture_counts_by_its_bytes(tmp_path):
    from PIL import Image

    keys = []
    for name, colour in (("a.png", "red"), ("b.png", "red"), ("a.png", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
        keys.append(dataclasses.replace(REQUEST, image=str(tmp_path / name)).key(SERVICE))
    assert keys[0] == keys[1] != keys[2]
