"""A real, tiny training from the page: recordings on the server, a worker process, live curves, cancel, resume."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Watch
from tests.e2e.live_server import OPERATOR_TOKEN, LiveServer
from tests.training_workers import write_data

OpenWatched = Callable[[str], tuple[Page, Watch]]
PATIENCE_MS = 300_000


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LiveServer]:
    """A server with recordings of three made-up people, and no model."""
    write_data(tmp_path / "recordings")
    settings = {"DATASETS_DIR": str(tmp_path / "recordings"), "TRAINING__TRACKING": "false"}
    server = LiveServer(data_dir=tmp_path, model_dir=tmp_path / "models", settings=settings)
    server.start()
    yield server
    server.stop()


def start_training(page: Page, *, steps: int) -> None:
    """Fill in the form as an operator does, and start."""
    page.get_by_label("mine.npz").check()
    page.get_by_label("person2 (3)").check()
    page.get_by_label("Recipe").select_option("trial")
    page.get_by_text("More settings").click()
    page.get_by_label("Steps").fill(str(steps))
    page.get_by_role("button", name="Start training").click()


def test_an_operator_trains_cancels_resumes_and_sees_who_was_right(lab: LiveServer, watched: OpenWatched) -> None:
    page, watch = watched(lab.url)
    page.get_by_role("link", name="Training").click()
    page.get_by_label("Operator token").fill(OPERATOR_TOKEN)
    page.keyboard.press("Enter")
    start_training(page, steps=900)

    status = page.get_by_role("status")
    expect(status).to_have_text("Training", timeout=PATIENCE_MS)
    expect(page.get_by_text(re.compile(r"Loss \d\.\d+ at step \d+"))).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("figure canvas").first).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(status).to_have_text("Cancelled", timeout=PATIENCE_MS)

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile(r"Went on from step \d+"))).to_be_visible(timeout=PATIENCE_MS)
    expect(status).to_have_text("Finished", timeout=PATIENCE_MS)
    expect(page.get_by_text(re.compile(r"\d+% of 2 clips right, of people whom it has never seen"))).to_be_visible()
    expect(page.get_by_role("row", name="person2")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download model_v1.onnx").click()
    written = lab.model_dir / "candidates" / "v1" / "model_v1.onnx"
    assert Path(download.value.path()).read_bytes() == written.read_bytes()

    page.get_by_role("link", name="All trainings").click()
    expect(page.get_by_role("link", name=re.compile("Finished.*trial.*mine.npz"))).to_be_visible()
    assert watch.foreign_requests == []
    # There is no model yet, and the page asked for it before it was here.
    assert [text for text in watch.complaints if "503" not in text] == []
