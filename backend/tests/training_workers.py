"""Both ways to train, for tests: worker processes that the server starts, and a Celery worker on a real Redis."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from app.core.config import BACKEND_DIR, TrainingSettings, worker_environment
from app.ml.recordings.clips import save_dataset
from tests.parametric_signer import IDLE, make_clips
from tests.redis_server import RedisServer
from tests.test_api.live import OPERATOR_TOKEN, LiveServer, make_settings, serve

Runner = Literal["process", "celery"]
HEADERS = {"Authorization": f"Bearer {OPERATOR_TOKEN}"}
SIGNS = ("rain", "sun")
PEOPLE = ("person0", "person1", "person2")
REQUEST = {"datasets": ["mine.npz"], "recipe": "trial", "held_out": ["person2"], "steps": 20}


@dataclass(kw_only=True)
class Lab:
    """A server that can train, and a client of its interface."""

    live: LiveServer
    http: httpx.AsyncClient
    folder: Path

    async def create(self, **changes: Any) -> dict[str, Any]:
        """Queue a session."""
        answer = await self.http.post("/api/v1/training/sessions", json={**REQUEST, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def get(self, session: dict[str, Any]) -> dict[str, Any]:
        """A session with its whole curves."""
        answer = await self.http.get(f"/api/v1/training/sessions/{session['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, session: dict[str, Any], what: Literal["cancel", "resume"]) -> httpx.Response:
        """Cancel or resume a session."""
        return await self.http.post(f"/api/v1/training/sessions/{session['id']}/{what}")


def write_data(folder: Path) -> None:
    """The data set `mine.npz`: three people, two signs and idle hands."""
    folder.mkdir(parents=True, exist_ok=True)
    save_dataset(folder / "mine.npz", make_clips(num_people=3, takes=1, labels=(*SIGNS, IDLE)))


@contextmanager
def celery_worker(folder: Path, redis: RedisServer) -> Generator[None]:
    """`python -m app.training_worker` with the settings of a server whose data lie in `folder`."""
    settings = make_settings(folder, redis_url=redis.url, training=TrainingSettings(runner="celery", tracking=False))
    with (folder / "celery.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.training_worker"],
            cwd=BACKEND_DIR,
            env={**worker_environment(settings), "SIGNFLOW_REDIS_URL": redis.url},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def open_lab(
    folder: Path, runner: Runner, *, redis: RedisServer | None = None, tracking: bool = False
) -> AsyncGenerator[Lab]:
    """Serve with one way to train."""
    training = TrainingSettings(runner=runner, heartbeat_timeout_s=6, tracking=tracking)
    url = None if redis is None else redis.url
    async with (
        serve(folder, redis_url=url if runner == "celery" else None, training=training) as live,
        httpx.AsyncClient(base_url=live.http, headers=HEADERS, verify=False, timeout=30) as http,
    ):
        yield Lab(live=live, http=http, folder=folder)
