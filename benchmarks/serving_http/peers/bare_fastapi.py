"""The least that a FastAPI server can do: a form, a pool of threads, no look-up, no keys, no limits."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from starlette.formparsers import MultiPartParser

from benchmarks.serving_http.peers.model import PORT, THREADS, LiteRtModel

# Else an upload over 1 MB goes through a file.
MultiPartParser.spool_max_size = 2**26

app = FastAPI()
model = LiteRtModel()
threads = ThreadPoolExecutor(THREADS)


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    data = await file.read()
    return await asyncio.get_running_loop().run_in_executor(threads, model.answer, data)


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")
