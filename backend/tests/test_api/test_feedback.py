"""Corrections: the caption follows, a clip is kept only with consent, and its giver can take it back."""

import asyncio
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection

from app.core.config import FeedbackSettings
from tests.fakes import StreamWriter
from tests.test_api.live import (
    OPERATOR_TOKEN,
    LiveServer,
    client,
    hello,
    http_client,
    receive_until,
    send,
    send_all,
    serve,
)

OPERATOR = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}


async def make_sign(socket: ClientConnection) -> dict[str, Any]:
    """Sign "yes" and return its message; the caption that follows is read too."""
    await send_all(socket, StreamWriter().sign("yes"))
    sign = await receive_until(socket, "sign")
    await receive_until(socket, "caption")
    return sign


async def request(live: LiveServer, method: str, path: str, **headers: str) -> httpx.Response:
    """One HTTP request."""
    async with http_client(live) as http:
        return await http.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )


async def test_a_correction_with_consent_keeps_the_clip_and_the_caption_follows(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        token = (await hello(socket))["resume_token"]
        sign = await make_sign(socket)
        await send(socket, type="feedback", sign_id=sign["id"], label="thank_you", consent=True)
        caption = await receive_until(socket, "caption")
        await send(socket, type="ping")
        await receive_until(socket, "pong")
        listed = (await request(live, "GET", "/api/v1/feedback", X_Giver_Token=token)).json()
        clip = listed["clips"][0]
        npz = await request(live, "GET", f"/api/v1/feedback/{clip['id']}/clip", X_Giver_Token=token)

    assert caption["text"] == "thank you"
    assert listed["total"] == 1
    assert (clip["label"], clip["predicted_label"], clip["status"]) == ("thank_you", "yes", "quarantined")
    archive = np.load(io.BytesIO(npz.content))
    assert archive["landmarks"].shape == (clip["num_frames"], 75, 3)
    assert str(archive["label"]) == "thank_you"


async def test_without_consent_nothing_is_kept(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        sign = await make_sign(socket)
        await send(socket, type="feedback", sign_id=sign["id"], label="idle", consent=False)
        caption = await receive_until(socket, "caption")
        listed = (await request(live, "GET", "/api/v1/feedback", **OPERATOR)).json()

    assert caption["text"] == ""
    assert listed == {"total": 0, "clips": []}


async def test_an_unknown_label_or_sign_is_a_coded_error(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        sign = await make_sign(socket)
        await send(socket, type="feedback", sign_id=sign["id"], label="made_up", consent=True)
        first = await receive_until(socket, "error")
        await send(socket, type="feedback", sign_id=77, label="yes", consent=True)
        second = await receive_until(socket, "error")

    assert (first["code"], second["code"]) == ("unknown_label", "unknown_sign")


async def test_a_second_correction_replaces_the_first(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        token = (await hello(socket))["resume_token"]
        sign = await make_sign(socket)
        for label in ("thank_you", "hello"):
            await send(socket, type="feedback", sign_id=sign["id"], label=label, consent=True)
            await receive_until(socket, "caption")
        await send(socket, type="ping")
        await receive_until(socket, "pong")
        listed = (await request(live, "GET", "/api/v1/feedback", X_Giver_Token=token)).json()

    assert [clip["label"] for clip in listed["clips"]] == ["hello"]


async def test_givers_see_and_delete_only_their_own_and_an_operator_all(tmp_path: Path) -> None:
    async with serve(tmp_path) as live:
        tokens: list[str] = []
        for _ in range(2):
            async with client(live) as socket:
                tokens.append((await hello(socket))["resume_token"])
                sign = await make_sign(socket)
                await send(socket, type="feedback", sign_id=sign["id"], label="hello", consent=True)
                await receive_until(socket, "caption")
                await send(socket, type="ping")
                await receive_until(socket, "pong")
        mine = (await request(live, "GET", "/api/v1/feedback", X_Giver_Token=tokens[0])).json()["clips"]
        everybody = (await request(live, "GET", "/api/v1/feedback", **OPERATOR)).json()
        path = f"/api/v1/feedback/{mine[0]['id']}"
        statuses = [
            (await request(live, "GET", "/api/v1/feedback")).status_code,
            (await request(live, "GET", "/api/v1/feedback", Authorization="Bearer wrong")).status_code,
            (await request(live, "DELETE", path, X_Giver_Token=tokens[1])).status_code,
            (await request(live, "GET", f"{path}/clip", X_Giver_Token=tokens[1])).status_code,
            (await request(live, "DELETE", path, X_Giver_Token=tokens[0])).status_code,
            (await request(live, "DELETE", path, X_Giver_Token=tokens[0])).status_code,
            (await request(live, "DELETE", "/api/v1/feedback", **OPERATOR)).status_code,
        ]
        deleted = (await request(live, "DELETE", "/api/v1/feedback", X_Giver_Token=tokens[1])).json()
        left = (await request(live, "GET", "/api/v1/feedback", **OPERATOR)).json()["total"]

    assert len(mine) == 1
    assert everybody["total"] == 2
    assert statuses == [401, 401, 404, 404, 200, 404, 422]
    assert (deleted, left) == ({"deleted": 1}, 0)


async def test_a_full_store_says_so_and_keeps_nothing_more(tmp_path: Path) -> None:
    feedback = FeedbackSettings(max_clips=1)
    async with serve(tmp_path, feedback=feedback) as live, client(live) as socket:
        await hello(socket)
        writer = StreamWriter()
        await send_all(socket, [*writer.sign("yes"), *writer.sign("hello")])
        for _ in range(2):
            await receive_until(socket, "sign")
        for sign_id in (1, 2):
            await send(socket, type="feedback", sign_id=sign_id, label="thank_you", consent=True)
        error = await receive_until(socket, "error")

    assert error["code"] == "feedback_full"
    assert "SIGNFLOW_FEEDBACK__MAX_CLIPS" in error["message"]


async def test_the_landmarks_of_a_sign_long_ago_are_no_longer_in_memory(tmp_path: Path) -> None:
    feedback = FeedbackSettings(clips_in_memory=1)
    async with serve(tmp_path, feedback=feedback) as live, client(live) as socket:
        await hello(socket)
        writer = StreamWriter()
        await send_all(socket, [*writer.sign("yes"), *writer.sign("hello")])
        for _ in range(2):
            await receive_until(socket, "sign")
        await asyncio.sleep(0.05)
        await send(socket, type="feedback", sign_id=1, label="thank_you", consent=True)
        error = await receive_until(socket, "error")

    assert error["code"] == "unknown_sign"
    assert "no longer in memory" in error["message"]
