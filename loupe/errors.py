"""What can go wrong between a program and a Loupe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LoupeError(Exception):
    """``hint`` says what to do about it, where that is known."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message} {hint}")
        self.message, self.hint = message, hint


class UnreachableError(LoupeError):
    """No server answers at the address, or the connection broke, also after it was tried again."""


class RefusedError(LoupeError):
    """The server's own error (a problem document, RFC 9457).

    ``code``: the kind, for programs, such as ``not_found``; ``errors``: which fields, and why; ``problem``:
    all of it.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or status), problem.get("hint"))
        self.status, self.problem = status, dict(problem)
        self.code: str = str(problem.get("code", ""))
        self.request_id: str | None = problem.get("request_id")
        self.errors: list[tuple[str, str]] = [
            (str(entry["pointer"]), str(entry["message"])) for entry in problem.get("errors") or ()
        ]


class JobFailedError(LoupeError):
    """A job that was waited for did not succeed; ``job`` is its id, ``problem`` what the server says of
    it."""

    def __init__(self, job: str, status: str, problem: Mapping[str, Any] | None) -> None:
        detail = f": {problem['detail']}" if problem else "."
        super().__init__(f"The job {job} is {status}{detail}", (problem or {}).get("hint"))
        self.job, self.status, self.problem = job, status, dict(problem or {})
