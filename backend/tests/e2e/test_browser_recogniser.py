"""The shipped file in a browser: ONNX Runtime's wasm build answers in Chromium as the server does."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, Route

from tests.e2e.conftest import FLAGS
from tests.golden.write_windows import MODEL, PATH

RUNTIME = Path(__file__).parents[3] / "frontend" / "node_modules" / "onnxruntime-web" / "dist"
ORIGIN = "http://recogniser.test"
"""Nobody is asked: every request is answered from a file."""
NUM_ROUNDS = 20
RECOGNISE = """
async ({windows, rounds}) => {
  const ort = await import('/ort.wasm.bundle.min.mjs')
  ort.env.wasm.wasmPaths = '/'
  ort.env.wasm.numThreads = 1
  const model = new Uint8Array(await (await fetch('/model.onnx')).arrayBuffer())
  const session = await ort.InferenceSession.create(model)
  const answers = []
  let fastest = Infinity
  for (const window of windows) {
    const frames = window.times_ms.length
    const feeds = {
      landmarks: new ort.Tensor('float32', Float32Array.from(window.landmarks, (v) => v ?? NaN), [1, frames, 75, 3]),
      times_ms: new ort.Tensor('float64', Float64Array.from(window.times_ms), [1, frames]),
      aspect: new ort.Tensor('float32', [window.width / window.height], [1]),
      mask: new ort.Tensor('bool', new Uint8Array(frames).fill(1), [1, frames]),
    }
    let output
    for (let round = 0; round < rounds; round++) {
      const begin = performance.now()
      output = await session.run(feeds)
      if (frames > 10) fastest = Math.min(fastest, performance.now() - begin)
    }
    const names = ['logits', 'signing', 'familiarity']
    answers.push(Object.fromEntries(names.map((name) => [name, Array.from(output[name].data)])))
  }
  return {answers, fastest}
}
"""

logger = logging.getLogger(__name__)


def answer_from_file(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ORIGIN}/")
    if not name:
        route.fulfill(body="<!doctype html><title>recogniser</title>", content_type="text/html")
        return
    path = MODEL if name == "model.onnx" else RUNTIME / name
    kinds = {".mjs": "text/javascript", ".wasm": "application/wasm"}
    route.fulfill(body=path.read_bytes(), content_type=kinds.get(path.suffix, "application/octet-stream"))


@pytest.fixture
def page(playwright: Playwright, chromium_path: str) -> Iterator[Page]:
    """An empty page beside the runtime's files and the model."""
    browser: Browser = playwright.chromium.launch(executable_path=chromium_path, args=list(FLAGS))
    page = browser.new_page()
    page.route(f"{ORIGIN}/**", answer_from_file)
    page.goto(f"{ORIGIN}/")
    yield page
    browser.close()


def test_the_shipped_file_answers_in_a_browser_as_on_the_server(page: Page) -> None:
    golden: list[dict[str, Any]] = json.loads(PATH.read_text("utf-8"))["cases"]

    found = page.evaluate(RECOGNISE, {"windows": golden, "rounds": NUM_ROUNDS})

    logger.info("%.2f ms a window, the fastest of %d", found["fastest"], NUM_ROUNDS)
    assert len(found["answers"]) == len(golden)
    for answer, case in zip(found["answers"], golden, strict=True):
        for name, values in answer.items():
            np.testing.assert_allclose(values, case[name], atol=1e-4, err_msg=f"{case['name']}: {name}")
