"""FastAPI before TensorFlow's SavedModel, as most tutorials serve a Keras model."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf
import uvicorn
from fastapi import FastAPI, UploadFile
from starlette.formparsers import MultiPartParser

from benchmarks.serving_http.peers.model import FOLDER, PORT, THREADS, decode, top_k

MultiPartParser.spool_max_size = 2**26

# Operations that spread over both cores cost a sixth more CPU time a request.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
app = FastAPI()
model = tf.saved_model.load(FOLDER / "saved_model")
[height, width] = model.signatures["serving_default"].inputs[0].shape[1:3]
threads = ThreadPoolExecutor(THREADS)


def answer(data: bytes) -> dict[str, Any]:
    return top_k(model.serve(tf.constant(decode(data, width, height))).numpy()[0])


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    data = await file.read()
    return await asyncio.get_running_loop().run_in_executor(threads, answer, data)


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="warning")
