"""Streams a recording to a running server, as a camera would, and prints what the server answers.

Reads a clip or dataset `.npz`, a folder of them, or a video (which needs the extra `video`). Each clip is a stream of
its own in one session; a lost connection is resumed. With --expect the exit code is 1 unless the server answers exactly
those signs, in that order; with --check unless every clip is answered with its own label.

    python -m scripts.replay recordings.npz --label hello --limit 1 --expect hello
"""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer
from rich.progress import Progress

from app.api.ws_messages import (
    CaptionMessage,
    ErrorMessage,
    PartialMessage,
    Ready,
    ServerMessage,
    SignMessage,
    StateMessage,
    StatsMessage,
)
from app.client.recordings import Choice, load_recording
from app.client.stream_client import StreamClient, stream_url
from app.ml.recordings.clips import Clip
from app.ml.recordings.importers.source import Skipped
from scripts.console import STDERR, fail, tell_skipped, user_errors

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m scripts.replay recordings.npz --label hello --limit 1 --expect hello")
def main(
    recording: Annotated[Path, typer.Argument(help="Clip or dataset .npz, folder of them, or video.")],
    *,
    server: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    pace: Annotated[
        Literal["live", "replay"], typer.Option(help="live: at real speed; replay: as fast as the server reads.")
    ] = "live",
    index: Annotated[list[int] | None, typer.Option(help="Position of a clip, from 0; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only clips of this sign; may be repeated.")] = None,
    signer: Annotated[list[str] | None, typer.Option(help="Only clips of this person; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many clips.")] = None,
    expect: Annotated[
        list[str] | None, typer.Option(help="The sign that must be answered; repeat it for several, in order.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Every clip must be answered with its own label.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate to trust, for https.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line an event.")] = False,
) -> None:
    """Stream a recording to a running server and print what it answers."""
    try:
        url = stream_url(server)
    except ValueError as error:
        raise fail(str(error)) from error
    choice = Choice(index=tuple(index or ()), labels=tuple(label or ()), signers=tuple(signer or ()), limit=limit)
    answers: dict[int, list[str]] = {}
    with user_errors():
        items = _load(recording)
        clips = choice.apply(items)
        left_out = [item for item in items if isinstance(item, Skipped)] if choice.takes_all else []
        tell_skipped("left out", left_out)
        asyncio.run(_replay(url, clips, answers, pace=pace, certificate=certificate, as_json=as_json))
    answered = [sign for signs in answers.values() for sign in signs]
    if expect is not None and answered != expect:
        STDERR.print(f"expected {', '.join(expect)}; got {', '.join(answered) or 'nothing'}", style="red")
        raise typer.Exit(1)
    if check and not _report(clips, answers):
        raise typer.Exit(1)
    if not all(item.is_empty for item in left_out):
        raise typer.Exit(1)


def _load(path: Path) -> list[Clip | Skipped]:
    with Progress(console=STDERR, transient=True) as progress:
        task = progress.add_task(path.name, total=None)
        return load_recording(
            path, on_frame=lambda done, total: progress.update(task, completed=done, total=total or None)
        )


async def _replay(
    url: str,
    clips: list[tuple[int, Clip]],
    answers: dict[int, list[str]],
    *,
    pace: Literal["live", "replay"],
    certificate: Path | None,
    as_json: bool,
) -> None:
    playing = 0

    def take(message: ServerMessage, _received_s: float) -> None:
        if isinstance(message, SignMessage) and message.label is not None:
            answers[playing].append(message.label)
        if as_json:
            typer.echo(orjson.dumps({"clip": playing, **message.model_dump(mode="json")}).decode())
        elif (line := _describe(message)) is not None:
            typer.echo(line)

    async with StreamClient(url, pace=pace, on_message=take, certificate=certificate, client="replay") as client:
        for playing, clip in clips:
            answers[playing] = []
            if not as_json:
                facts = f"{clip.num_frames} frames, {clip.duration_ms / 1000:.1f} s"
                typer.echo(f"clip {playing}: {clip.label or 'no label'}, {clip.signer or 'unknown signer'} ({facts})")
            await client.play(clip)
        if client.num_reconnects:
            STDERR.print(f"the connection was lost and resumed {client.num_reconnects} times")


def _describe(message: ServerMessage) -> str | None:
    """A line for people; None for what they need not see."""
    match message:
        case Ready():
            return f"    model {message.model_version}, {message.vocabulary_size} signs, session {message.session_id}"
        case StateMessage():
            return f"{message.at_ms / 1000:8.2f} s  {message.state.value.lower()}"
        case PartialMessage():
            best = ", ".join(f"{item.label} {item.confidence:.0%}" for item in message.alternatives[:2])
            return f"{message.at_ms / 1000:8.2f} s      perhaps {best}"
        case SignMessage():
            others = ", ".join(f"{item.label} {item.confidence:.0%}" for item in message.alternatives)
            sign = f"sign {message.id}: {message.label or 'not sure'} {message.confidence:.0%}"
            when = f"from {message.start_ms / 1000:.2f} s, answered in {message.latency_ms:.1f} ms"
            return f"{message.end_ms / 1000:8.2f} s  {sign}, {when} ({others})"
        case CaptionMessage():
            return f"            caption: {message.text}"
        case StatsMessage():
            return f"            {message.frames_handled} frames handled, {message.frames_dropped} dropped"
        case ErrorMessage():
            return f"            error {message.code.value}: {message.message}"
        case _:
            return None


def _report(clips: list[tuple[int, Clip]], answers: dict[int, list[str]]) -> bool:
    """Say which clips were not answered with their own label; an idle clip must stay without an answer."""
    wrong = [
        (position, clip.label)
        for position, clip in clips
        if answers[position] != ([] if clip.label in (None, "idle") else [clip.label])
    ]
    for position, label in wrong:
        STDERR.print(f"clip {position}: expected {label}; got {', '.join(answers[position]) or 'nothing'}", style="red")
    STDERR.print(f"{len(clips) - len(wrong)} of {len(clips)} clips as expected")
    return not wrong


if __name__ == "__main__":
    app()
