"""The error answers of API v2: `{"error": "bad request", "error_description": "project_id is required"}`."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

VERSION_HEADER = "X-Keito-API-Version"
VERSION = "2"

_NAMES = {status.value: status.phrase.lower() for status in HTTPStatus}
_OTHER_NAME = "error"


class RefusedError(Exception):
    """A request that API v2 refuses.

    Args:
        status: The HTTP status of the answer.
        description: What is wrong, for a person.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the answer as documented."""
        content = {"error": _NAMES.get(self.status, _OTHER_NAME), "error_description": self.description}
        return JSONResponse(content, self.status, {VERSION_HEADER: VERSION, **self.headers})


def refusal(status: int, description: str) -> Response:
    """Return the error answer of that status."""
    return RefusedError(status, description).response()


def answer_exception(_request: Request, exception: Exception) -> Response:
    """Turn whatever ended a request into its documented answer; what nobody foresaw is a 500."""
    match exception:
        case RefusedError():
            return exception.response()
        case HTTPException():
            return RefusedError(exception.status_code, exception.detail, exception.headers).response()
        case _:
            return refusal(500, "the sandbox failed; its log has the cause")
