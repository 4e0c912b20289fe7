"""The vocabulary: every known sign, its display texts, and whether the active model recognises it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.api.deps import Services
from app.ml.artifacts.manifest import SignLabel
from app.repositories.signs import Sign, SignKind
from app.services.sign_catalog import SignCatalog

router = APIRouter(prefix="/api/v1", tags=["signs"])


class SignInfo(BaseModel):
    """One sign.

    `texts` has a text for each interface language, at least `en`. `num_people` says how many different people the
    active model learnt it from (1: expect less), null when it does not recognise the sign.
    """

    language: str
    label: str
    kind: SignKind
    texts: dict[str, str]
    recognised: bool
    num_people: int | None


class SignList(BaseModel):
    """Signs by language and label, and the version of the model that `recognised` speaks of."""

    model_version: str | None
    signs: list[SignInfo]


@router.get("/signs")
async def list_signs(
    services: Services,
    language: Annotated[str | None, Query(pattern="^[a-z]{3}$", description="ISO 639-3, e.g. `ase`.")] = None,
    recognised: Annotated[bool | None, Query(description="Only signs that are (or are not) recognised now.")] = None,
) -> SignList:
    """List the signs that SignFlow knows."""
    active = services.models.active
    learnt: dict[tuple[str, str], SignLabel] = {}
    if active is not None:
        learnt = {
            (item.language, item.label): item for item in active.manifest.labels if item.label in active.sign_labels
        }
    known = {(sign.language, sign.label): sign for sign in services.catalog.signs}
    infos = [
        _describe(key, known.get(key), learnt.get(key), services.catalog)
        for key in sorted(known.keys() | learnt.keys())
        if language is None or key[0] == language
    ]
    return SignList(
        model_version=None if active is None else active.manifest.version,
        signs=[info for info in infos if recognised is None or info.recognised == recognised],
    )


def _describe(key: tuple[str, str], sign: Sign | None, learnt: SignLabel | None, catalog: SignCatalog) -> SignInfo:
    language, label = key
    if sign is None:
        kind: SignKind = "letter" if catalog.is_letter(label) else "word"
        texts = {"en": catalog.text(label, "en")}
    else:
        kind, texts = sign.kind, sign.texts
    return SignInfo(
        language=language,
        label=label,
        kind=kind,
        texts=texts,
        recognised=learnt is not None,
        num_people=None if learnt is None else learnt.num_people,
    )
