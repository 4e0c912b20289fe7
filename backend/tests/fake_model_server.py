"""An inference server made of a real pipeline and a few lines of HTTP, which fails on command.

It answers as TorchServe with our handler does, and as a server of the Open Inference Protocol with raw tensors.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from app.ml.inference.tensor_messages import JSON_LENGTH_HEADER
from app.ml.inference.window_server import ServerRequest, WindowServer
from app.ml.pipeline import SignFlowInferencePipeline


@dataclass(slots=True, kw_only=True)
class FakeModelServer:
    """What it does, and what it was asked.

    Attributes:
        model: what answers; another one may be put in its place.
        extensions: what it tells about itself on `/v2`.
        hangs: it takes requests and never answers.
        drops: so many requests lose their connection instead of an answer.
        status: answered to everything, when set.
        garbage: sent as the body of every answer, when set.
    """

    model: SignFlowInferencePipeline
    extensions: tuple[str, ...] = ("binary_tensor_data",)
    hangs: bool = False
    drops: int = 0
    status: int | None = None
    garbage: bytes | None = None
    port: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    _server: asyncio.Server | None = field(default=None, init=False)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter], init=False)

    @property
    def url(self) -> str:
        """Its address, the same after a restart."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, probes included."""
        return [path for _, path, _ in self.requests]

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Stop listening and cut every connection."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)  # let the cut connections' tasks see it

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((method, path, headers))
        if self.drops:
            self.drops -= 1
            writer.transport.abort()
            return False
        if self.hangs:
            await asyncio.sleep(60)
        status, content, answer_headers = await asyncio.to_thread(self._answer, method, path, headers, body)
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in answer_headers.items()]
        writer.write("\r\n".join((*lines, "", "")).encode() + content)
        await writer.drain()
        return True

    def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if self.status is not None:
            return self.status, orjson.dumps({"message": "the fake was told so"}), {}
        if self.garbage is not None:
            return 200, self.garbage, {}
        if method == "GET":
            return (200, orjson.dumps({"name": "fake", "extensions": self.extensions}), {})
        server = WindowServer(self.model, backend="onnx", device="cpu")
        (answer,) = server.answer([ServerRequest(content=body, headers=headers)])
        return answer.status, answer.content, dict(answer.headers)


@asynccontextmanager
async def serve_model(model: SignFlowInferencePipeline) -> AsyncGenerator[FakeModelServer]:
    """A server that listens until the block ends."""
    server = FakeModelServer(model=model)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


def uses_raw_bytes(server: FakeModelServer) -> bool:
    """Whether the last request to a model carried raw tensors."""
    return JSON_LENGTH_HEADER in next(headers for method, _, headers in reversed(server.requests) if method == "POST")
