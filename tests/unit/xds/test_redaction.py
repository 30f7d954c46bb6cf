from __future__ import annotations

import pytest

from protos.envoy.config.core import v3_pb2 as core_v3
from xds.redaction import shown, without_keys
from xds.resource import TypeUrl, resource

PEM = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("identity: bad", "identity: bad"),
        (f"identity: {PEM} is bad", "identity: <redacted> is bad"),
        (f"{PEM} {PEM}", "<redacted> <redacted>"),
        ("cut off: -----BEGIN PRIVATE KEY-----\nabc", "cut off: <redacted>"),
    ],
)
def test_keys_are_cut_out_of_texts(text: str, clean: str) -> None:
    assert without_keys(text) == clean


def test_an_unknown_type_inside_is_said_so() -> None:
    message = core_v3.TypedExtensionConfig(name="a")
    message.typed_config.type_url = "type.googleapis.com/nobody.knows"
    made = resource(TypeUrl.EXTENSION, "a", message)
    assert "nobody.knows" in shown(made)["undecodable"]
