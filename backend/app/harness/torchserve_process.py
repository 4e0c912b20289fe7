"""A TorchServe of our own, for tests and benchmarks: on free ports, in a temporary folder, gone when the block ends.

It runs with the configuration that `torchserve/` ships, ports and folders apart.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from app.client.errors import ServerUnreachableError
from app.ml.errors import MissingExtraError

CONFIG_DIR: Final = Path(__file__).resolve().parents[3] / "torchserve"
START_TIMEOUT_S: Final = 120.0
_STOP_TIMEOUT_S: Final = 10.0
_NUM_PORTS: Final = 6


@dataclass(slots=True, kw_only=True)
class TorchServeProcess:
    """A TorchServe that serves one archive; it can be killed and started again on the same ports.

    Attributes:
        archive: the `.mar`; its name is the model's name.
        folder: where it keeps its files; the caller removes it.
        open_inference: whether it also speaks the Open Inference Protocol.
    """

    archive: Path
    folder: Path
    open_inference: bool = True
    _ports: list[int] = field(default_factory=list[int], init=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Address of the inference API."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def management_url(self) -> str:
        """Address of the management API."""
        return f"http://127.0.0.1:{self._ports[1]}"

    def start(self) -> None:
        """Start it and wait until a worker answers.

        Raises:
            ServerUnreachableError: it ended or did not answer in time; the message holds the end of its log.
        """
        self._ports = self._ports or _free_ports(_NUM_PORTS)
        log = self.folder / "torchserve.log"
        with log.open("ab") as output:
            # Its own session: workers that outlive the Java process are ended with it.
            self._process = subprocess.Popen(
                self._command(), cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                msg = f"TorchServe did not start:\n{log.read_text(errors='replace')[-3000:]}"
                raise ServerUnreachableError(msg)
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, with all its workers; nothing is said to anybody."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, then end it."""
        self._signal(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it without closing its sockets, as a machine that hangs does; `resume` lets it go on."""
        self._signal(signal.SIGSTOP, ends=False)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT, ends=False)

    def _signal(self, number: signal.Signals, *, ends: bool = True) -> None:
        process = self._process
        if process is None:
            return
        try:
            os.killpg(process.pid, number)
            if ends:
                process.wait(timeout=_STOP_TIMEOUT_S)
        except ProcessLookupError:
            process.wait()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if ends:
            self._process = None

    def _answers(self) -> bool:
        request = urllib.request.Request(
            f"{self.url}/predictions/{self.archive.stem}", data=b"", headers={"describe": "True"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def _command(self) -> list[str]:
        inference, management, metrics, grpc_inference, grpc_management, worker = self._ports
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        store = self.folder / "model-store"
        store.mkdir(exist_ok=True)
        shutil.copyfile(self.archive, store / self.archive.name)
        config = self.folder / "config.properties"
        config.write_text(
            (CONFIG_DIR / "config.properties").read_text(encoding="utf-8")
            + f"enable_envvars_config=false\ninference_address=http://127.0.0.1:{inference}\nmanagement_address=http://127.0.0.1:{management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\ngrpc_inference_port={grpc_inference}\n"
            f"grpc_management_port={grpc_management}\ninitial_worker_port={worker}\nload_models={self.archive.name}\n",
            encoding="utf-8",
        )
        # TMPDIR holds the file by which TorchServe knows that it runs already, TEMP the models that it unpacks.
        environment = {
            "TMPDIR": temporary,
            "TEMP": temporary,
            "LOG_LOCATION": self.folder / "logs",
            "METRICS_LOCATION": self.folder / "logs",
            "TS_DECODE_INPUT_REQUEST": "false",
            "OMP_NUM_THREADS": 1,
            **({"TS_OPEN_INFERENCE_PROTOCOL": "oip"} if self.open_inference else {}),
        }
        return [
            "env",
            *(f"{name}={value}" for name, value in environment.items()),
            sys.executable,
            *("-m", "ts.model_server", "--start", "--foreground", "--ncs"),
            *("--model-store", str(store), "--ts-config", str(config)),
            *("--log-config", str(CONFIG_DIR / "log4j2.xml")),
        ]


@contextmanager
def start_torchserve(archive: Path, *, open_inference: bool = True) -> Generator[TorchServeProcess]:
    """Serve an archive until the block ends.

    Raises:
        MissingExtraError: TorchServe or Java is not installed.
        ServerUnreachableError: it did not start; the message holds the end of its log.
    """
    if find_spec("ts") is None or shutil.which("java") is None:
        msg = (
            "TorchServe or Java is missing; install them: make extra NAME=torchserve; "
            "apt-get install openjdk-17-jre-headless"
        )
        raise MissingExtraError(msg)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="signflow-torchserve-")))
        server = TorchServeProcess(archive=archive, folder=folder, open_inference=open_inference)
        stack.callback(server.stop)
        server.start()
        yield server


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
