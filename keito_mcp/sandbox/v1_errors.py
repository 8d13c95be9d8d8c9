"""The error answers of API v1: `{"error": {"code": …, "message": …, "field": …}}`."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

# Keito documents the codes of the first six; the others are the sandbox's own.
_CODES = {
    400: "validation_error",
    401: "authentication_error",
    403: "authorization_error",
    404: "not_found",
    422: "validation_error",
    429: "rate_limit_exceeded",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
}
_OTHER_CODE = "internal_error"


class ApiError(Exception):
    """A request that API v1 refuses.

    Args:
        status: The HTTP status of the answer.
        message: What is wrong, for a person.
        field: The field or query parameter to blame, where there is one.
        code: The machine-readable code; by default the one that goes with the status.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.field = field
        self.code = code or _CODES.get(status, _OTHER_CODE)
        self.headers = headers

    def response(self) -> Response:
        """Return the answer as documented."""
        error = {"code": self.code, "message": self.message}
        if self.field is not None:
            error["field"] = self.field
        return JSONResponse({"error": error}, self.status, self.headers)


def refusal(status: int, message: str) -> Response:
    """Return an error answer with the code that goes with its status."""
    return ApiError(status, message).response()


def answer_exception(_request: Request, exception: Exception) -> Response:
    """Turn whatever ended a request into its documented answer; what nobody foresaw is a 500."""
    match exception:
        case ApiError():
            return exception.response()
        case HTTPException():
            return ApiError(exception.status_code, exception.detail, headers=exception.headers).response()
        case _:
            return refusal(500, "the sandbox failed; its log has the cause")
