"""LitServe: each worker is a process that answers one image at a time."""

from typing import Any

import litserve
from fastapi import Request

from benchmarks.serving_http.peers.model import PORT, WORKERS, LiteRtModel


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.model = LiteRtModel()

    def decode_request(self, request: Request) -> bytes:
        # LitServe hands on the form where the annotation is Request.
        data: bytes = request["file"].file.read()
        return data

    def predict(self, data: bytes) -> dict[str, Any]:
        return self.model.answer(data)

    def encode_response(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(), accelerator="cpu", workers_per_device=WORKERS, track_requests=False
    )
    server.run(host="127.0.0.1", port=PORT, log_level="warning", access_log=False, generate_client_file=False)
