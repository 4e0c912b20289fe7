"""Serving the built page."""

import gzip
from pathlib import Path

import pytest

from tests.test_api.live import http_client, serve

WASM = b"\0asm" + bytes(5_000)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with a small built page in it."""
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<!doctype html><title>SignFlow</title>")
    (tmp_path / "secret.txt").write_text("not for the web")
    (assets / "vision-abc123.wasm").write_bytes(WASM)
    (assets / "vision-abc123.wasm.gz").write_bytes(gzip.compress(WASM))
    (assets / "vision-abc123.wasm.br").write_bytes(b"brotli")
    (assets / "app-def456.js").write_text("export {}")
    return tmp_path


async def test_the_page_has_a_strict_policy_and_is_checked_again_each_time(data_dir: Path) -> None:
    async with serve(data_dir) as live, http_client(live) as http:
        page = await http.get("/")
        again = await http.get("/", headers={"If-None-Match": page.headers["ETag"]})

    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self' 'wasm-unsafe-eval'" in policy
    assert "unsafe-inline" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("accepted", "encoding", "length"),
    [("br, gzip", "br", 6), ("gzip", "gzip", len(gzip.compress(WASM))), ("identity", None, len(WASM))],
)
async def test_assets_come_compressed_typed_and_for_ever(
    data_dir: Path, accepted: str, encoding: str | None, length: int
) -> None:
    async with serve(data_dir) as live, http_client(live) as http:
        answer = await http.head("/assets/vision-abc123.wasm", headers={"Accept-Encoding": accepted})
        script = await http.get("/assets/app-def456.js")

    assert answer.headers["Content-Type"] == "application/wasm"
    assert answer.headers.get("Content-Encoding") == encoding
    assert int(answer.headers["Content-Length"]) == length
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_routes_of_the_page_get_the_page_and_missing_files_do_not(data_dir: Path) -> None:
    async with serve(data_dir) as live, http_client(live) as http:
        statuses = [
            (await http.get(path)).status_code
            for path in (
                "/translate",
                "/vocabulary/ase",
                "/assets/gone-1.js",
                "/api/v2",
                "/../secret.txt",
                "/%2e%2e/secret.txt",
            )
        ]
        text = (await http.get("/translate")).text

    assert statuses == [200, 200, 404, 404, 404, 404]
    assert "SignFlow" in text


async def test_a_page_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, http_client(live) as http:
        answers = [await http.get(path) for path in ("/", "/translate")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert all("make run" in answer.text for answer in answers)
