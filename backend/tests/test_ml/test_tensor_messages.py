"""Tensors in the Open Inference Protocol, as JSON and with raw bytes."""

from collections.abc import Mapping

import numpy as np
import orjson
import pytest

from app.ml.inference.tensor_messages import (
    JSON_LENGTH_HEADER,
    TensorMessageError,
    decode_tensors,
    decode_wishes,
    encode_tensors,
)

TENSORS = {
    "features": np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 2, 3),
    "mask": np.array([[True, True], [True, False]]),
}


def json_length(headers: Mapping[str, str]) -> str | None:
    return {name.lower(): value for name, value in headers.items()}.get(JSON_LENGTH_HEADER)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_tensors_come_back_exactly(side: str, *, binary: bool) -> None:
    body, headers = encode_tensors(TENSORS, side, binary=binary)  # pyright: ignore[reportArgumentType]

    found = decode_tensors(body, side, json_length=json_length(headers))  # pyright: ignore[reportArgumentType]

    assert (json_length(headers) is not None) == binary
    for name, expected in TENSORS.items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype
        assert found[name].flags.writeable


def test_the_message_is_the_one_that_the_protocol_describes() -> None:
    body, _ = encode_tensors(TENSORS, "inputs", binary=False, extra={"id": "7"})

    message = orjson.loads(body)
    assert message["id"] == "7"
    assert message["inputs"][1] == {
        "name": "mask",
        "shape": [2, 2],
        "datatype": "BOOL",
        "data": [True, True, True, False],
    }
    assert message["inputs"][0]["shape"] == [2, 2, 3]
    assert len(message["inputs"][0]["data"]) == 12


def test_raw_bytes_follow_the_json_in_the_order_of_the_tensors() -> None:
    body, headers = encode_tensors(TENSORS, "inputs", binary=True)
    length = int(headers["Inference-Header-Content-Length"])

    assert body[length:] == TENSORS["features"].tobytes() + TENSORS["mask"].tobytes()
    assert orjson.loads(body[:length])["inputs"][1]["parameters"] == {"binary_data_size": 4}


def test_a_request_says_which_outputs_it_wants_and_how() -> None:
    extra = {"outputs": [{"name": "logits"}]}
    raw, headers = encode_tensors(TENSORS, "inputs", binary=True, extra=extra)
    text, _ = encode_tensors(TENSORS, "inputs", binary=False)

    assert decode_wishes(raw, json_length=json_length(headers)) == (("logits",), True)
    assert decode_wishes(text, json_length=None) == ((), False)
    assert decode_wishes(orjson.loads(text), json_length=None) == ((), False)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": 3, "shape": [1], "datatype": "FP32", "data": [1]}, "name is 3"),
        ({"name": "x", "shape": "1", "datatype": "FP32", "data": [1]}, "shape is '1'"),
        ({"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}, r"shape is \[-1\]"),
        ({"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}, "datatype is 'INT8'"),
        ({"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}, "1 values do not fill"),
        ({"name": "x", "shape": [2], "datatype": "FP32", "data": ["a", "b"]}, "are no numbers"),
        ({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": "4"}}, "size is '4'"),
        (
            {"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 3}},
            "do not fill|whole number",
        ),
        ({"name": "x", "shape": [2**40, 2**40], "datatype": "FP32", "data": [1]}, "do not fill"),
    ],
)
def test_a_malformed_tensor_is_named(entry: dict[str, object], message: str) -> None:
    with pytest.raises(TensorMessageError, match=message):
        decode_tensors(orjson.dumps({"inputs": [entry]}), "inputs", json_length=None)


@pytest.mark.parametrize(
    ("content", "length"), [(b"{", None), (b"[]", None), (b"{}", None), (b'{"inputs": 3}', None), (b"{}", "x")]
)
def test_what_is_no_message_is_refused(content: bytes, length: str | None) -> None:
    with pytest.raises(TensorMessageError):
        decode_tensors(content, "inputs", json_length=length)
