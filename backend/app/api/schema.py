"""Writes the server's contracts for the page's generated types: `openapi.json` and `ws_messages.json`.

    python -m app.api.schema --output ../frontend/src/api/generated

`ws_messages.json` is a JSON Schema: one `$defs` entry a message, `ClientMessage` and `ServerMessage` for the two
directions, and `CloseCode`, the socket's close codes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api import ws_messages as ws
from app.api.application import create_app
from app.ml.artifacts.whole_files import write_text_whole

_CLIENT: Final[tuple[type[BaseModel], ...]] = (ws.Hello, ws.Reset, ws.Undo, ws.Feedback, ws.End, ws.Ping)
_SERVER: Final[tuple[type[BaseModel], ...]] = (
    ws.Ready,
    ws.StateMessage,
    ws.PartialMessage,
    ws.SignMessage,
    ws.CaptionMessage,
    ws.StatsMessage,
    ws.Busy,
    ws.ErrorMessage,
    ws.Ended,
    ws.Pong,
)


def openapi_schema() -> dict[str, object]:
    """The OpenAPI document of the HTTP interface."""
    return create_app().openapi()


def ws_messages_schema() -> dict[str, object]:
    """JSON Schema of all messages of the live stream."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in _CLIENT),
        *((model, "serialization") for model in _SERVER),
    ]
    _, schema = models_json_schema(modes)
    definitions = schema["$defs"]
    for definition in definitions.values():
        if definition.get("type") == "object":
            definition["additionalProperties"] = False
        for field in definition.get("properties", {}).values():
            field.pop("title", None)  # else generated types get an alias for every field
    definitions["ClientMessage"] = _one_of(_CLIENT)
    definitions["ServerMessage"] = _one_of(_SERVER)
    definitions["CloseCode"] = {
        "title": "CloseCode",
        "type": "integer",
        "enum": [code.value for code in ws.CloseCode],
        "tsEnumNames": [code.name for code in ws.CloseCode],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "StreamMessages",
        "description": f"The JSON messages of {ws.SUBPROTOCOL}, by direction.",
        "type": "object",
        "properties": {
            "client": {"$ref": "#/$defs/ClientMessage"},
            "server": {"$ref": "#/$defs/ServerMessage"},
            "close_code": {"$ref": "#/$defs/CloseCode"},
        },
        "required": ["client", "server", "close_code"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(prog="python -m app.api.schema", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to; made if it is not there")
    output: Path = parser.parse_args().output
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, schema in (("openapi.json", openapi_schema()), ("ws_messages.json", ws_messages_schema())):
            path = output / name
            write_text_whole(path, json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
            sys.stderr.write(f"wrote {path}\n")
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}; choose another folder")


def _one_of(models: tuple[type[BaseModel], ...]) -> dict[str, object]:
    return {"oneOf": [{"$ref": f"#/$defs/{model.__name__}"} for model in models]}


if __name__ == "__main__":
    main()
