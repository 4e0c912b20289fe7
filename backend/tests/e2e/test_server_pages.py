"""What a server shows besides the translate page: HTTPS for phones, the operator's status, the interface's manual."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.binaries import require_binary
from tests.e2e.conftest import Clips, Watch
from tests.e2e.live_server import BACKEND, OPERATOR_TOKEN, LiveServer

OpenWatched = Callable[[str], tuple[Page, Watch]]


def test_a_phone_gets_its_camera_and_its_words_over_https(
    browser: Browser, tmp_path: Path, tiny_model_dir: Path, clips: Clips
) -> None:
    require_binary("openssl", install="sudo apt-get install openssl")
    command = [sys.executable, "-m", "scripts.make_certificate", "--output", tmp_path / "tls"]
    subprocess.run(command, cwd=BACKEND, check=True, capture_output=True)
    tls = {"TLS__CERTIFICATE": f"{tmp_path}/tls/certificate.pem", "TLS__KEY": f"{tmp_path}/tls/key.pem"}
    server = LiveServer(data_dir=tmp_path, model_dir=tiny_model_dir, settings={"HOST": "0.0.0.0", **tls})
    server.start()
    try:
        phone = browser.new_context(ignore_https_errors=True, locale="en-GB", viewport={"width": 390, "height": 844})
        page = phone.new_page()
        page.goto(server.url)

        assert page.evaluate("window.isSecureContext && 'mediaDevices' in navigator")
        page.locator("input[type=file]").first.set_input_files(clips.path)
        expect(page.get_by_role("region", name="Captions").get_by_role("status")).to_have_text(
            clips.caption, timeout=60_000
        )
        phone.close()
    finally:
        server.stop()


def test_the_status_page_tells_the_operator_which_model_answers(server: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(server.url)
    page.goto(f"{server.url}/status")

    expect(page.get_by_text("Ready to translate").first).to_be_visible()
    expect(page.get_by_text(re.compile("onnx", re.IGNORECASE)).first).to_be_visible()
    page.get_by_label("Operator token").fill(OPERATOR_TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nobody has shared a clip yet.")).to_be_visible()
    assert watch.foreign_requests == []
    assert watch.complaints == []


def test_the_documentation_of_the_interface_asks_nobody_else(server: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(server.url)
    page.goto(f"{server.url}/docs")

    expect(page.get_by_text("/api/v1/signs").first).to_be_visible()
    assert watch.foreign_requests == []
    # Browsers ask every page for a favicon; anything else that the page lacks would be named by the policy.
    assert [text for text in watch.complaints if "favicon" not in text and "404" not in text] == []
