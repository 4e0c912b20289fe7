"""Writes `.env.example` from the settings' own names, defaults, limits and descriptions; `make generate` runs it.

Reads `app.core.config.Settings` (not the environment); writes one file.

    python -m scripts.write_env_example --output ../.env.example
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from app.core.config import BACKEND_DIR, Settings
from app.ml.artifacts.whole_files import write_text_whole
from scripts.console import user_errors

HEADER = """\
# Settings of the SignFlow server, with their defaults. Copy this file to .env and take the # off what you change; the
# environment wins over the file. Paths are relative to backend/. Written by 'make generate'."""


def as_env_value(value: object) -> str:
    """A default as text: nothing for "not set", no needless `.0`, true and false in small letters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return os.path.relpath(value, BACKEND_DIR) if isinstance(value, Path) else str(value)


def describe(field: FieldInfo) -> str:
    """What the setting does, then the values that it takes."""
    limits = {key: getattr(rule, key) for rule in field.metadata for key in ("gt", "ge", "le") if hasattr(rule, key)}
    if get_origin(field.annotation) is Literal:
        allowed = f" One of {', '.join(get_args(field.annotation))}."
    elif limits:
        least = f"More than {as_env_value(limits['gt'])}" if "gt" in limits else f"From {as_env_value(limits['ge'])}"
        allowed = f" {least} to {as_env_value(limits['le'])}."
    else:
        allowed = ""
    return f"# {field.description}{allowed}"


def render(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Lines of a settings model: its own settings first, then its groups."""
    groups: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            groups.append((name, field.annotation))
            continue
        yield from ("", describe(field))
        yield f"#{prefix}{name.upper()}={as_env_value(field.get_default(call_default_factory=True))}"
    for name, group in groups:
        title = (group.__doc__ or name).strip().splitlines()[0]
        yield from ("", "", f"# ---- {title}")
        yield from render(group, f"{prefix}{name.upper()}__")


def env_example() -> str:
    """The whole text of `.env.example`."""
    return "\n".join((HEADER, *render(Settings, "SIGNFLOW_"), ""))


def main(output: Annotated[Path, typer.Option(help="File to write.")] = BACKEND_DIR.parent / ".env.example") -> None:
    """Write the documented defaults of every setting."""
    with user_errors():
        write_text_whole(output, env_example())


if __name__ == "__main__":
    typer.run(main)
