"""Fixtures of the browser tests: a real server, Chromium with a fake camera, and a watch over what the page does."""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    WebSocket,
    sync_playwright,
)

from app.ml.recordings.clips import save_clip
from tests.binaries import require_binary
from tests.e2e.live_server import LiveServer
from tests.parametric_signer import make_person, perform_stream

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
)
HARMLESS = re.compile(r"^(?:INFO: Created TensorFlow Lite|[IW]\d{4} \d\d:\d\d:\d\d)")
"""MediaPipe's own log: notes and warnings begin with I or W and the date; TensorFlow Lite greets as an error."""


@dataclass
class Watch:
    """What a page asked for and complained about."""

    origin: str
    foreign_requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    frames_sent: list[bytes] = field(default_factory=list)
    num_sockets: int = 0

    def on_request(self, request: Request) -> None:
        """Note a request to anybody else."""
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.foreign_requests.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        """Note errors and warnings, except the known harmless ones."""
        if message.type in {"error", "warning"} and not HARMLESS.match(message.text):
            self.complaints.append(message.text)

    def on_websocket(self, socket: WebSocket) -> None:
        """Count connections and look at what is sent on them."""
        self.num_sockets += 1
        socket.on("framesent", self.on_frame)

    def on_frame(self, payload: str | bytes) -> None:
        """Keep the binary messages: the frames of landmarks."""
        if isinstance(payload, bytes):
            self.frames_sent.append(payload)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver; one for the whole run."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser of this machine."""
    return require_binary("chromium", "chromium-browser", "google-chrome", install="sudo apt-get install chromium")


@pytest.fixture(scope="session")
def fake_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera that shows a portrait photo: somebody is there, nobody signs."""
    matplotlib = pytest.importorskip("matplotlib", reason="installed by: make lab")
    ffmpeg = require_binary("ffmpeg", install="sudo apt-get install ffmpeg")
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    video = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    # yuvj420p: from an RGB source Chromium would show a green picture.
    picture = "scale=-2:480,pad=640:480:(ow-iw)/2:0"
    command = [ffmpeg, "-loglevel", "error", "-loop", "1", "-i", photo, "-t", "2", "-r", "15", "-vf", picture]
    subprocess.run([*command, "-pix_fmt", "yuvj420p", "-q:v", "3", video], check=True)
    return video


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """A landmark clip file and what the page must read off it."""

    path: Path
    caption: str


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Somebody whom the model has never seen performs five signs with pauses."""
    words = ("sun", "river", "star", "house", "bird")
    stream = perform_stream(make_person(100), words, seed=100, rest_ms=900.0)
    path = tmp_path_factory.mktemp("clips") / "five_signs.npz"
    save_clip(path, stream.clip)
    return Clips(path=path, caption=" ".join(words))


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium_path: str, fake_camera: Path) -> Iterator[Browser]:
    """Chromium that grants the camera to everybody who asks and shows the portrait in it."""
    flags = [*FLAGS, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={fake_camera}"]
    browser = playwright.chromium.launch(executable_path=chromium_path, args=flags)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def refusing_browser(playwright: Playwright, chromium_path: str) -> Iterator[Browser]:
    """Chromium that refuses the camera to every page."""
    browser = playwright.chromium.launch(executable_path=chromium_path, args=[*FLAGS, "--deny-permission-prompts"])
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Iterator[LiveServer]:
    """A server for every test that does not harm it."""
    server = LiveServer(data_dir=tmp_path_factory.mktemp("data"), model_dir=tiny_model_dir)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new visitor with an English browser."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext) -> Callable[[str], tuple[Page, Watch]]:
    """Opens an address in a page that is watched from its first request."""

    def open_watched(url: str) -> tuple[Page, Watch]:
        page = context.new_page()
        watch = Watch(origin=url.rstrip("/"))
        context.on("request", watch.on_request)
        page.on("console", watch.on_console)
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        page.on("websocket", watch.on_websocket)
        page.goto(url)
        return page, watch

    return open_watched
