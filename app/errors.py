"""The error tree: what went wrong, the HTTP status it maps to, and what to do about it. No web import."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One invalid part of a request: a JSON pointer (or a file's name) and the reason."""

    pointer: str
    message: str


class LoupeError(Exception):
    """Base of every error that Loupe raises on purpose.

    ``code`` names the kind for programs, ``title`` for people; ``detail`` says what happened this time and
    ``hint`` what to do. ``retryable`` tells whether the same request can succeed later without a change.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, hint: str | None = None, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.errors = errors

    def as_dict(self) -> dict[str, Any]:
        """The error as plain data, the form kept on a job and sent between processes."""
        return {
            "code": self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "retryable": self.retryable,
            "errors": [asdict(error) for error in self.errors],
        }


def is_disk_full(error: BaseException) -> bool:
    """Whether the operating system reported that a device or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


# --- Requests -------------------------------------------------------------------------------------------


class InvalidRequestError(LoupeError):
    status, code, title = 422, "invalid_request", "Invalid request"


class UnauthorizedError(LoupeError):
    status, code, title = 401, "unauthorized", "Key missing or not valid"


class ForbiddenError(LoupeError):
    status, code, title = 403, "forbidden", "The key may not do this"


class ForeignHostError(LoupeError):
    status, code, title = 403, "foreign_host", "Not answered for this host"


class ForeignSiteError(LoupeError):
    status, code, title = 403, "foreign_site", "Sent by a web page of another site"


class AddressRefusedError(InvalidRequestError):
    code, title = "address_refused", "An address that nothing is sent to"


class NotFoundError(LoupeError):
    status, code, title = 404, "not_found", "Not found"


class ConflictError(LoupeError):
    status, code, title = 409, "conflict", "Conflict with the current state"


class PreconditionFailedError(LoupeError):
    status, code, title = 412, "precondition_failed", "Changed in the meantime"


class TooLargeError(LoupeError):
    status, code, title = 413, "too_large", "Too large"


class UnsupportedMediaTypeError(LoupeError):
    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class UnsupportedEncodingError(UnsupportedMediaTypeError):
    title = "Unsupported content encoding"


class MalformedRangeError(LoupeError):
    status, code, title = 400, "malformed_range", "No range of bytes"


class UnsatisfiableRangeError(LoupeError):
    """``size``: of the file in bytes."""

    status, code, title = 416, "range_not_satisfiable", "The range lies behind the end"

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has {size:,} bytes.", hint="Ask for a range that begins before its end.")
        self.size = size


class GateFailedError(LoupeError):
    status, code, title = 422, "gate_failed", "The model failed its gate"


class IdempotencyMismatchError(LoupeError):
    status, code, title = 422, "idempotency_mismatch", "Idempotency-Key used with another body"


class MalformedRequestError(LoupeError):
    status, code, title = 400, "malformed_request", "No HTTP request that can be read"


class SlowRequestError(LoupeError):
    status, code, title, retryable = 408, "slow_request", "The request came too slowly", True


class HeadTooLargeError(LoupeError):
    status, code, title = 431, "head_too_large", "The head of the request is too large"


class LimitReachedError(LoupeError):
    """``limit``: which, for the metrics. ``retry_after``: seconds until it may be otherwise."""

    status, code, title, retryable = 429, "limit_reached", "A limit of the key is reached", True

    def __init__(self, limit: str, detail: str, *, hint: str, retry_after: int) -> None:
        super().__init__(detail, hint=hint)
        self.limit = limit
        self.retry_after = retry_after


class UnavailableError(LoupeError):
    status, code, title, retryable = 503, "unavailable", "A service that Loupe needs is down", True


class TooManyConnectionsError(UnavailableError):
    code, title = "too_many_connections", "Too many connections"


class StorageUnavailableError(UnavailableError):
    code, title = "storage_unavailable", "The storage does not answer"


class StorageRefusedError(StorageUnavailableError):
    title = "The storage refuses"


class BusyError(UnavailableError):
    code, title = "busy", "Too much at once"


class UploadMissingError(LoupeError):
    status, code, title, retryable = 503, "upload_missing", "The upload is not in the shared storage", True


class StorageDamagedError(LoupeError):
    status, code, title = 500, "storage_damaged", "Stored files are damaged"


class AnalysisError(LoupeError):
    status, code, title = 500, "analysis_failed", "The evaluation could not be analysed"


class StorageFullError(LoupeError):
    status, code, title, retryable = 507, "disk_full", "No space left on the device", True


# --- Images and datasets ------------------------------------------------------------------------------


class ImageDecodeError(LoupeError):
    status, code, title = 422, "undecodable_image", "Not an image that can be decoded"


class ImageTooLargeError(ImageDecodeError):
    status, code, title = 413, "image_too_large", "Image has too many pixels"


class DatasetError(LoupeError):
    status, code, title = 422, "data_error", "Dataset cannot be used"


class ArchiveError(DatasetError):
    code, title = "bad_archive", "Archive cannot be read"


class UnsafeArchiveError(ArchiveError):
    code, title = "unsafe_archive", "Archive is unsafe to unpack"


class ChoiceNeededError(DatasetError):
    """Several readings of an upload are likely. It is kept, so that a retry can take the choice."""

    code, title = "choice_needed", "The upload can be read in several ways"


class StrictImportError(DatasetError):
    """A strict import that would leave an image out, or call it otherwise. All reasons, up to a bound."""

    code, title = "not_as_it_is", "The upload cannot be imported as it is"
    most_listed: ClassVar[int] = 500

    def __init__(self, problems: list[FieldError]) -> None:
        listed = problems[: self.most_listed]
        cut = f"; the first {len(listed):,} are listed" if len(listed) < len(problems) else ""
        files = "file or folder" if len(problems) == 1 else "files or folders"
        super().__init__(
            f"{len(problems):,} {files} would be left out, or have odd names{cut}",
            hint="Mend them and import again; without `strict`, the import leaves out or renames them.",
            errors=tuple(listed),
        )


class SplitError(DatasetError):
    code, title = "split_impossible", "Dataset cannot be split this way"


class LeakError(DatasetError):
    code, title = "test_images_trained_on", "Images to test on would be trained on"


# --- Networks and training ------------------------------------------------------------------------------


class BudgetReachedError(LoupeError):
    status, code, title = 409, "budget_reached", "The time is over"


class UnknownNetworkError(LoupeError):
    status, code, title = 422, "unknown_network", "Unknown network"


class ImageSizeError(LoupeError):
    status, code, title = 422, "invalid_image_size", "Image size the network cannot take"


class FeaturesUnavailableError(LoupeError):
    status, code, title = 409, "features_unavailable", "No feature vectors"


class WeightsError(LoupeError):
    status, code, title = 422, "unusable_weights", "Weights the network cannot take"


class TrainingError(LoupeError):
    status, code, title = 500, "training_failed", "Training failed"


class DeviceError(TrainingError):
    code, title = "device_unavailable", "No such GPU"


class NotFiniteError(TrainingError):
    code, title = "not_finite", "Loss is not finite"


class OutOfMemoryError(TrainingError):
    code, title, retryable = "out_of_memory", "Out of memory", True


class CrashedError(TrainingError):
    code, title, retryable = "crashed", "The process crashed", True


class StalledError(TrainingError):
    code, title, retryable = "stalled", "No progress for too long", True


class WorkerLostError(TrainingError):
    code, title, retryable = "worker_lost", "The worker was lost", True


class ConversionError(LoupeError):
    status, code, title = 500, "conversion_failed", "The model cannot be converted"


class ArtifactError(LoupeError):
    status, code, title = 500, "artifact_damaged", "Model artifact is damaged"


class ParityError(TrainingError):
    code, title = "not_served_as_measured", "The packaged model does not answer as the trained one"
