"""What a job's row says of its own kind, beyond the columns: written at the request, read by the worker."""

from __future__ import annotations

from typing import Literal

from app.schemas.class_map import ClassMap
from app.schemas.hyperparameters import SplitSettings
from app.schemas.import_choices import ImportChoices, NameEncoding
from app.schemas.job import EarlyEnd
from app.schemas.message import Message
from app.schemas.model_formats import MadeFormat
from app.schemas.product import MAX_ERROR


class Payload(Message):
    """What a job of any kind may say. ``model``: the one that it reads. ``forget_checkpoints_until``: the
    number of an event; checkpoints that were recorded up to it are not resumed from.
    """

    model: str | None = None
    forget_checkpoints_until: int = 0


class TrainingPayload(Payload):
    """``class_map``: None where all classes are learnt. ``evaluation_dataset``: what the final test is
    measured on; None: the test split. ``resize_rule``: None where the first one resizes the images.
    ``method``: None where all layers learn. ``until_epoch``, ``ends_as``: how far a sweep lets it train, see
    ``TrainingSpec``, as is ``tried_elsewhere``. One that ends as pruned lost its sweep: it may not become
    champion. ``gate_limits``: whether its gate asks for more than an accuracy.
    """

    class_map: ClassMap | None = None
    evaluation_dataset: str | None = None
    resize_rule: str | None = None
    method: Literal["linear"] | None = None
    until_epoch: int | None = None
    ends_as: EarlyEnd | None = None
    tried_elsewhere: int = 0
    gate_limits: bool = False


class UploadPayload(Payload):
    """Of the kinds that read an upload. ``source``: its address in the storage, or the path of a file that
    is none. ``host``: who received it.
    """

    source: str
    is_upload: bool
    host: str = "that received it"


class ImportPayload(UploadPayload, ImportChoices):
    """What is imported, and how it is read."""


class EvaluationPayload(Payload):
    """``job``: the training that made the model and the split that ``subset`` is of. ``include_trained``:
    whether images that it trained on count.
    """

    job: str
    model: str
    subset: Literal["test", "all"]
    include_trained: bool = False


class PredictionPayload(UploadPayload):
    """``source``: the upload, or the dataset's id where it is none. ``model``: the one that answers all
    images, by what its product promised then; ``version``, ``alias`` and ``digest`` describe it also once it
    is deleted. ``filename``: as the client calls the upload.
    """

    model: str
    version: int
    alias: str | None = None
    digest: str
    top_k: int
    max_error: float = MAX_ERROR
    filename: str | None = None
    name_encoding: NameEncoding | None = None


class ExportPayload(Payload):
    """``job``: the training whose split is exported. ``split``: one to draw, with its seed. Neither: the
    split that the dataset came with.
    """

    format: Literal["folders", "tfrecord"]
    image_size: tuple[int, int] | None
    compression: Literal["gzip"] | None
    job: str | None
    split: SplitSettings | None = None


SINCE_FIRST_RELEASE = {
    *(TrainingPayload.model_fields | ImportPayload.model_fields).keys() - UploadPayload.model_fields.keys(),
    "split",
}
"""What a worker of the first release does not read: it would do the job as if it was not asked for."""


class RevisionPayload(Payload):
    """``sources``: the datasets that the new one is made of, first the one that is edited."""

    sources: tuple[str, ...]


class ModelExportPayload(Payload):
    """``model``: which model becomes a file of this ``format``."""

    model: str
    format: MadeFormat


class ModelImportPayload(UploadPayload):
    """Which zip becomes a model."""
