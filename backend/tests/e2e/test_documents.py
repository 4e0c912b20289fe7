"""What the documents show really works."""

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Clips
from tests.e2e.live_server import LiveServer

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_client_in_the_protocol_document_reads_the_signs(server: LiveServer, clips: Clips, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (DOCS / "protocol.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    client = tmp_path / "client.py"
    client.write_text(example.group(1), encoding="utf-8")
    url = server.url.replace("http", "ws") + "/api/v1/translate/stream"

    done = subprocess.run([sys.executable, client, url, clips.path], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == clips.caption.split()


def test_every_link_between_documents_leads_somewhere() -> None:
    pages = [DOCS.parent / "README.md", DOCS.parent / "THIRD_PARTY.md", *DOCS.glob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if not target.startswith("http") and not (page.parent / target).exists()
    ]

    assert broken == []
