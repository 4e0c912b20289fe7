"""Options that several training tools share, checked before anything long begins."""

import math
from typing import Final, overload

import typer

from app.core.config import BACKEND_DIR
from app.ml.model_configs import get_model_config
from app.ml.training.recipes import get_recipe

MODEL_DIR: Final = BACKEND_DIR / "data" / "models"
"""Where runs are recorded unless a server is named."""
RUNS_DIR: Final = BACKEND_DIR / "runs"
"""Where tools keep what they can go on from."""


def check_recipe(name: str) -> str:
    """Callback of `--recipe`.

    Raises:
        typer.BadParameter: no recipe has that name; says which there are.
    """
    try:
        get_recipe(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return name


def check_model(name: str | None) -> str | None:
    """Callback of `--model`.

    Raises:
        typer.BadParameter: no network configuration has that name; says which there are.
    """
    try:
        if name is not None:
            get_model_config(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return name


@overload
def check_language(code: str) -> str: ...
@overload
def check_language(code: None) -> None: ...
def check_language(code: str | None) -> str | None:
    """Callback of `--language`; None, where an option may be left out, stays None.

    Raises:
        typer.BadParameter: no code of three small letters.
    """
    if code is not None and not (len(code) == 3 and code.isascii() and code.isalpha() and code.islower()):
        raise typer.BadParameter(f"{code!r} is no ISO 639-3 code, e.g. ase (American) or kvk (Korean)")
    return code


@overload
def check_seeds(text: str) -> str: ...
@overload
def check_seeds(text: None) -> None: ...
def check_seeds(text: str | None) -> str | None:
    """Callback of `--seeds`; None, where an option may be left out, stays None.

    Raises:
        typer.BadParameter: anything but whole numbers separated by commas.
    """
    if text is not None and not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 0,1,2")
    return text


def check_rates(text: str) -> str:
    """Callback of `--fps`.

    Raises:
        typer.BadParameter: anything but positive numbers separated by commas.
    """
    try:
        is_usable = all(0 < float(part) < math.inf for part in text.split(","))
    except ValueError:
        is_usable = False
    if not is_usable:
        raise typer.BadParameter(f"{text!r} is no list of frame rates such as 30,15,8")
    return text
