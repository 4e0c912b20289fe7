"""TorchServe's side of SignFlow: hands requests to `app.ml` and answers back. docs/torchserve.md has the formats.

The model archive carries this file, the model and the whole of `app.ml`, so the server needs no SignFlow installed.
TorchServe takes the one class that it finds here.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from ts.context import Context
from ts.torch_handler.base_handler import BaseHandler

from app.ml.inference.window_server import ServerRequest, WindowServer
from app.ml.pipeline import SignFlowInferencePipeline

logger = logging.getLogger(__name__)

Parameters: TypeAlias = Mapping[str, bytes | bytearray | dict[str, object]]
"""What TorchServe makes of one request: `body`, or the fields of a form."""


class SignFlowHandler(BaseHandler):
    """Answers batches of requests: one forward pass from landmarks to calibrated predictions."""

    server: WindowServer

    def initialize(self, context: Context) -> None:
        """Load the archive's model, on the GPU that TorchServe has given to this worker if there is one.

        Raises:
            ArtifactError: the model cannot be used; TorchServe logs why, and stops the worker.
        """
        properties = context.system_properties
        gpu = properties.get("gpu_id")
        device = "cpu" if gpu is None or not torch.cuda.is_available() else f"cuda:{gpu}"
        options = (context.model_yaml_config or {}).get("handler") or {}
        num_threads = int(options.get("num_threads", 1))
        torch.set_num_threads(num_threads)
        path = Path(str(properties["model_dir"])) / context.manifest["model"]["serializedFile"]
        pipeline = SignFlowInferencePipeline.load_file(path, num_threads=num_threads, device=device)
        info = pipeline.backend_info
        self.server = WindowServer(pipeline, backend=info.name, device=info.device)
        self.server.warm_up()
        self.manifest = context.manifest
        self.device = torch.device(info.device)
        self.initialized = True
        logger.info("model %s, %s on %s", pipeline.manifest.version, info.name, info.device)

    def handle(self, data: Sequence[Parameters], context: Context) -> list[bytes]:
        """Answer the requests of one batch, each with its own status; a malformed one leaves the others alone."""
        requests = [
            ServerRequest(content=self.read_content(row), headers=self.read_headers(context, index))
            for index, row in enumerate(data)
        ]
        answers = self.server.answer(requests)
        for index, answer in enumerate(answers):
            context.set_response_status(answer.status, answer.phrase, index)
            for name, value in answer.headers.items():
                context.set_response_header(index, name, value)
        return [answer.content for answer in answers]

    @staticmethod
    def read_content(parameters: Parameters) -> bytes | dict[str, object]:
        """The body of a request.

        `curl -d @file` calls any body a form, and TorchServe then cuts it at its first "=" into a name and a value:
        JSON that holds one is put together again, all other JSON is lost before it comes here.
        """
        for name in ("body", "data"):
            if name in parameters:
                content = parameters[name]
                return content if isinstance(content, dict) else bytes(content)
        for name, value in parameters.items():
            if name.lstrip().startswith("{") and not isinstance(value, dict):
                return f"{name}=".encode() + bytes(value)
        return b""

    @staticmethod
    def read_headers(context: Context, index: int) -> dict[str, str]:
        """A request's headers, names in small letters; TorchServe keeps notes of its own, no texts, among them."""
        headers = context.get_all_request_header(index)
        return {name.lower(): str(value) for name, value in headers.items()}
