"""The page's engine on a person who really signs: hands reach the wire from the camera and from a video file.

The clip is in ../shared beside the checkout; without it these tests are skipped.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from app.ml.landmarks.wire import LEFT_HAND_FLAG, POSE_FLAG, RIGHT_HAND_FLAG, decode_frame
from tests.binaries import require_binary
from tests.e2e.conftest import FLAGS, Watch
from tests.e2e.live_server import LiveServer

VIDEO = Path(__file__).resolve().parents[4] / "shared" / "data" / "video" / "sign_540x720.mp4"
NUM_VIDEO_FRAMES = 58
HANDS = LEFT_HAND_FLAG | RIGHT_HAND_FLAG
pytestmark = pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/data/video beside the checkout")


@pytest.fixture(scope="module")
def camera_flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of a Chromium whose camera shows the signing person, again and again."""
    ffmpeg = require_binary("ffmpeg", install="sudo apt-get install ffmpeg")
    camera = tmp_path_factory.mktemp("camera") / "sign.mjpeg"
    subprocess.run(
        [ffmpeg, "-loglevel", "error", "-i", VIDEO, "-an", "-pix_fmt", "yuvj420p", "-q:v", "3", camera], check=True
    )
    return [*FLAGS, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium_path: str, camera_flags: list[str]) -> Iterator[Browser]:
    """Chromium with the signing person in its camera."""
    browser = playwright.chromium.launch(executable_path=chromium_path, args=camera_flags)
    yield browser
    browser.close()


def wait_for_frames(page: Page, watch: Watch, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """The frames that were sent, once they are enough; at most three minutes later, for machines that do much else."""
    for _ in range(360):
        if enough(watch.frames_sent):
            break
        page.wait_for_timeout(500)
    return watch.frames_sent


@pytest.mark.parametrize("reader", ["worker", "page"])
def test_a_signing_hand_in_the_camera_reaches_the_server(
    server: LiveServer,
    context: BrowserContext,
    watched: Callable[[str], tuple[Page, Watch]],
    reader: str,
) -> None:
    if reader == "page":  # as in Firefox and Safari
        context.add_init_script("delete window.MediaStreamTrackProcessor")
    page, watch = watched(server.url)
    page.get_by_role("button", name="Start the camera").click()

    data = wait_for_frames(page, watch, lambda frames: sum(bool(frame[3] & HANDS) for frame in frames) >= 5)

    frames = [decode_frame(frame) for frame in data]
    times_ms = np.array([frame.time_ms for frame in frames])
    with_hand = [frame.landmarks for frame, raw in zip(frames, data, strict=True) if raw[3] & RIGHT_HAND_FLAG]
    assert len(with_hand) >= 5, "her right hand was not found"
    assert all(raw[3] & POSE_FLAG for raw in data)
    assert (np.diff(times_ms) > 0).all(), "capture times rise"
    # The hand is on the arm: its wrist lies where the pose has the wrist (16), within a tenth of the picture.
    gaps = [np.hypot(*(points[54, :2] - points[16, :2])) for points in with_hand]
    assert float(np.median(gaps)) < 0.1
    # Un-flipped pixels: her right side is on the picture's left.
    assert all(points[12, 0] < points[11, 0] for points in with_hand)
    assert watch.foreign_requests == []


def test_the_page_answers_at_once_while_it_detects(
    server: LiveServer, watched: Callable[[str], tuple[Page, Watch]]
) -> None:
    page, watch = watched(server.url)
    page.get_by_role("button", name="Start the camera").click()
    wait_for_frames(page, watch, lambda frames: len(frames) >= 5)

    late_ms = page.evaluate(
        """async () => {
            const late = []
            for (let turn = 0; turn < 150; turn += 1) {
                const start = performance.now()
                await new Promise((resolve) => setTimeout(resolve, 10))
                late.push(performance.now() - start - 10)
            }
            return late
        }"""
    )

    # Detection on the page itself would hold every turn for a whole picture, 100 ms and more. The median, because other
    # work on the machine may hold up any single turn.
    assert float(np.median(late_ms)) < 30
    assert len(page.workers) == 1


def test_a_dropped_video_is_detected_frame_by_frame(
    server: LiveServer, watched: Callable[[str], tuple[Page, Watch]]
) -> None:
    page, watch = watched(server.url)
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    page.locator("input[type=file]").first.set_input_files(VIDEO)

    data = wait_for_frames(page, watch, lambda frames: len(frames) == NUM_VIDEO_FRAMES)

    times_ms = np.array([decode_frame(frame).time_ms for frame in data])
    assert len(data) == NUM_VIDEO_FRAMES
    assert times_ms[0] == 0
    np.testing.assert_allclose(np.diff(times_ms), 1000 / 30, atol=1.0)
    assert sum(bool(frame[3] & RIGHT_HAND_FLAG) for frame in data) >= 10
    assert watch.foreign_requests == []
    assert watch.complaints == []


def test_the_first_visit_transfers_less_than_25_mb_and_the_second_almost_nothing(
    server: LiveServer, playwright: Playwright, chromium_path: str, camera_flags: list[str], tmp_path: Path
) -> None:
    # A profile on disk: the cache of a private window is too small for the models.
    context = playwright.chromium.launch_persistent_context(
        tmp_path, executable_path=chromium_path, args=camera_flags, locale="en-GB"
    )

    def visit() -> int:
        page = context.new_page()
        watch = Watch(origin=server.url)
        page.on("websocket", watch.on_websocket)
        page.goto(server.url)
        page.get_by_role("button", name="Start the camera").click()
        wait_for_frames(page, watch, lambda frames: len(frames) >= 1)
        num_bytes = transferred(page)
        page.close()
        return num_bytes

    first = visit()
    second = visit()
    context.close()

    assert 10_000_000 < first < 25_000_000, "the models and the WebAssembly are counted, compressed"
    assert second < 100_000


def transferred(page: Page) -> int:
    """Bytes that the page and its worker have taken from the network, as the browser counted them."""
    count = "performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"
    return int(page.evaluate(count)) + sum(int(worker.evaluate(count)) for worker in page.workers)
