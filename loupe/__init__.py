"""Loupe from Python: products, images, trainings and predictions of a server that is yours.

    from loupe import Loupe

    with Loupe("http://127.0.0.1:8000") as loupe:
        loupe.products.create("screws")
        dataset = loupe.datasets.create("screws", "folder/")
        job = loupe.jobs.create("screws", dataset=dataset.id)
        loupe.jobs.wait(job, progress=True)
        print(loupe.predict("new.jpg", product="screws").label)

``AsyncLoupe`` has the same verbs to be awaited. Needs no TensorFlow, and neither Pillow, NumPy nor pandas:
where they are, it takes and gives what is theirs.
"""

from loupe.client import AsyncLoupe, Loupe
from loupe.errors import JobFailedError, LoupeError, RefusedError, UnreachableError
from loupe.records import Dataset, Evaluation, Event, Job, Metrics, Model, Prediction, Product, Report

__all__ = [
    "AsyncLoupe",
    "Dataset",
    "Evaluation",
    "Event",
    "Job",
    "JobFailedError",
    "Loupe",
    "LoupeError",
    "Metrics",
    "Model",
    "Prediction",
    "Product",
    "RefusedError",
    "Report",
    "UnreachableError",
]
