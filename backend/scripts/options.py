"""Options that several training tools share, checked before anything long begins."""

import typer

from app.ml.recipes import get_recipe


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


def check_seeds(text: str) -> str:
    """Callback of `--seeds`.

    Raises:
        typer.BadParameter: anything but whole numbers separated by commas.
    """
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 0,1,2")
    return text
