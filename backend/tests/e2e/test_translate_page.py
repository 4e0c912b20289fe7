"""The translate page in a real browser, against a real server: from the camera or a clip to words on the page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from app.harness.fault_proxy import FaultProxy
from tests.e2e.conftest import Clips, Watch
from tests.e2e.live_server import LiveServer

AXE = Path(__file__).resolve().parents[3] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
POSE_FLAG = 1
OpenWatched = Callable[[str], tuple[Page, Watch]]


def caption_of(page: Page) -> Locator:
    """The final words of the caption: the live region inside the captions."""
    return page.get_by_role("region", name=re.compile("Captions|Sous-titres", re.IGNORECASE)).get_by_role("status")


def open_clip(page: Page, clip: Path) -> None:
    """Give a file to the page's file input, as the button does."""
    page.locator("input[type=file]").first.set_input_files(clip)


def drop_clip(page: Page, clip: Path) -> None:
    """Drop a file on the page, as from a file manager."""
    transfer = page.evaluate_handle(
        """([bytes, name]) => {
            const transfer = new DataTransfer()
            transfer.items.add(new File([new Uint8Array(bytes)], name))
            return transfer
        }""",
        [list(clip.read_bytes()), clip.name],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("body", event, {"dataTransfer": transfer})


def start_camera(page: Page) -> None:
    """Press the button that starts the camera."""
    page.get_by_role(
        "button", name=re.compile("Start the camera|Démarrer la caméra|caméra", re.IGNORECASE)
    ).first.click()


def test_the_page_loads_without_asking_anybody_else(server: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(server.url)

    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    expect(page.get_by_text("Video stays on this device; only 75 points are sent.").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert watch.foreign_requests == []
    assert watch.complaints == []


def test_the_camera_becomes_points_and_the_state_is_shown(server: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(server.url)

    start_camera(page)

    expect(page.locator("[data-state=IDLE]")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile(r"\d+ frames a second"))).to_be_visible(timeout=60_000)
    page.wait_for_function("() => document.querySelector('video')?.videoWidth > 0")
    assert {len(frame) for frame in watch.frames_sent} <= {470, 920}, "nothing but landmarks leaves the page"
    assert any(frame[3] & POSE_FLAG for frame in watch.frames_sent), "the person in the camera was found"
    assert watch.foreign_requests == []
    assert watch.complaints == []


def test_the_camera_can_be_turned_off(server: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(server.url)
    start_camera(page)
    expect(page.locator("[data-state=IDLE]")).to_be_visible(timeout=60_000)

    page.get_by_role("button", name="Turn the camera off").click()

    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    page.wait_for_timeout(500)
    sent = len(watch.frames_sent)
    page.wait_for_timeout(1_000)
    assert len(watch.frames_sent) == sent


def test_a_clip_opened_on_the_page_reads_the_right_words(
    server: LiveServer, watched: OpenWatched, clips: Clips
) -> None:
    page, watch = watched(server.url)

    open_clip(page, clips.path)

    expect(caption_of(page)).to_have_text(clips.caption, timeout=60_000)
    assert watch.foreign_requests == []
    assert watch.complaints == []


def test_a_clip_dropped_on_the_page_reads_the_right_words(
    server: LiveServer, watched: OpenWatched, clips: Clips
) -> None:
    page, _ = watched(server.url)

    drop_clip(page, clips.path)

    expect(caption_of(page)).to_have_text(clips.caption, timeout=60_000)


def test_undo_takes_back_the_last_word_and_clear_all(server: LiveServer, watched: OpenWatched, clips: Clips) -> None:
    page, _ = watched(server.url)
    open_clip(page, clips.path)
    expect(caption_of(page)).to_have_text(clips.caption, timeout=60_000)

    page.get_by_role("button", name="Undo").click()
    expect(caption_of(page)).to_have_text(clips.caption.rsplit(" ", 1)[0])

    page.get_by_role("button", name="Clear").click()
    expect(caption_of(page)).to_have_text("")


def test_a_lost_line_is_resumed_without_losing_or_repeating_a_word(
    server: LiveServer, watched: OpenWatched, clips: Clips
) -> None:
    line = FaultProxy(target_port=server.port)
    try:
        page, watch = watched(f"http://127.0.0.1:{line.port}")
        expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
        line.slow_down(bytes_per_s=60_000)
        open_clip(page, clips.path)
        expect(caption_of(page)).to_contain_text(clips.caption.split(" ")[0], timeout=60_000)

        line.cut()
        assert caption_of(page).inner_text().strip() != clips.caption, "the line was cut too late to test anything"
        expect(page.get_by_text("Connection lost").first).to_be_visible()
        line.mend()

        expect(caption_of(page)).to_have_text(clips.caption, timeout=60_000)
        assert watch.num_sockets >= 2
    finally:
        line.close()


def test_a_server_that_dies_and_comes_back_is_used_again(
    tmp_path: Path, tiny_model_dir: Path, watched: OpenWatched, clips: Clips
) -> None:
    server = LiveServer(data_dir=tmp_path, model_dir=tiny_model_dir)
    server.start()
    try:
        page, _ = watched(server.url)
        start_camera(page)
        expect(page.locator("[data-state=IDLE]")).to_be_visible(timeout=60_000)

        server.kill()
        expect(page.get_by_text(re.compile("Connection lost|does not answer")).first).to_be_visible(timeout=20_000)
        server.start()
        expect(page.get_by_text(re.compile("Connection lost|does not answer"))).to_have_count(0, timeout=40_000)

        open_clip(page, clips.path)
        expect(caption_of(page)).to_contain_text(clips.caption, timeout=60_000)
    finally:
        server.stop()


def test_a_refused_camera_says_what_to_do(server: LiveServer, refusing_browser: Browser) -> None:
    context = refusing_browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(server.url)

    start_camera(page)

    expect(page.get_by_text("The browser was not allowed to use the camera.")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("allow the camera for this page")).to_be_visible()
    context.close()


def test_a_server_without_a_model_says_so_and_does_not_pretend(tmp_path: Path, watched: OpenWatched) -> None:
    empty = tmp_path / "models"
    empty.mkdir()
    server = LiveServer(data_dir=tmp_path, model_dir=empty)
    server.start()
    try:
        page, _ = watched(server.url)
        start_camera(page)
        expect(page.get_by_text("The server has no recognition model").first).to_be_visible(timeout=60_000)
    finally:
        server.stop()


def test_a_french_browser_gets_a_french_page(server: LiveServer, browser: Browser) -> None:
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(server.url)

    assert page.locator("html").get_attribute("lang") == "fr"
    expect(page.get_by_text("75 points").first).to_contain_text("vidéo", ignore_case=True)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_page_has_no_accessibility_violation(
    server: LiveServer, browser: Browser, clips: Clips, scheme: str, size: tuple[int, int]
) -> None:
    context = browser.new_context(
        locale="en-GB",
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        viewport={"width": size[0], "height": size[1]},
        bypass_csp=True,
    )
    page = context.new_page()
    page.goto(server.url)
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
    violations = axe_violations(page)
    open_clip(page, clips.path)
    expect(caption_of(page)).to_have_text(clips.caption, timeout=60_000)

    assert violations + axe_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"
    context.close()


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds by WCAG 2.2 A and AA: rule and the elements."""
    page.add_script_tag(path=AXE)
    return page.evaluate(
        """async () => {
            const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
            const result = await axe.run(document, { runOnly: { type: 'tag', values: tags } })
            return result.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target.join(' ')).join(', '))
        }"""
    )


def test_the_whole_page_can_be_used_with_the_keyboard(server: LiveServer, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(server.url)
    start = page.get_by_role("button", name="Start the camera")
    expect(start).to_be_visible()

    for _ in range(30):
        page.keyboard.press("Tab")
        if start.evaluate("(button) => button === document.activeElement"):
            break

    expect(start).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[data-state=IDLE]")).to_be_visible(timeout=60_000)
