"""What can go wrong between here and Keito.

    KeitoError
      + Unreachable           no answer came: refused, timed out, cut off
        x OutOfSight          more entries than may be asked for stand before the one that was looked for
      + StatusError           an answer came, and it is no success
        x InvalidRequest      400, 422, 413 and every 4xx that has no class of its own
        x AuthenticationFailed 401
        x PermissionDenied    403
        x NotFound            404
        x Conflict            409
        x RateLimited         429
        x ServerFailed        5xx
        x UnexpectedAnswer    not Keito's word: a redirect, a page, a 4xx without Keito's error in it, no id

A 4xx is Keito's word only where it carries Keito's error (`Refusal`): what stands between answers too, and knows
nothing of what became of a write. Of those, a 429 alone is believed as it is, for coming back later harms nobody.

Each says whether it is certain that nothing was written (`nothing_written`).
"""


class KeitoError(Exception):
    """A call to Keito that didn't succeed. Its text is never blank."""

    nothing_written: bool = True


class Unreachable(KeitoError):
    """No answer came.

    Attributes:
        nothing_written: True where the connection was never made, so that the request can't have arrived.
    """

    def __init__(self, message: str, *, nothing_written: bool) -> None:
        super().__init__(message)
        self.nothing_written = nothing_written


class OutOfSight(Unreachable):
    """An entry that is neither found nor known to be gone: there are too many others to look through."""

    def __init__(self, message: str) -> None:
        super().__init__(message, nothing_written=False)


class StatusError(KeitoError):
    """An answer came, and it is an error.

    Attributes:
        status: The HTTP status.
        code: Keito's error code, such as `validation_error`.
        message: Keito's own words; data from outside, bounded in length.
        field: The field that Keito blames, where it names one.
        request_id: Keito's id of the request, for its support.
        retry_after: Seconds after which Keito wants to be asked again, where it says so; at most `LONGEST_REST`.
    """

    _who = "Keito answered {status}"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{self._who.format(status=f'{status} {code}' if code else status)}: {message}")
        self.status = status
        self.message = message
        self.code = code
        self.field = field
        self.request_id = request_id
        self.retry_after = retry_after


class InvalidRequest(StatusError):
    """400, 422 or another 4xx: Keito refuses what was sent."""


class AuthenticationFailed(StatusError):
    """401: the key is missing, wrong or revoked."""


class PermissionDenied(StatusError):
    """403: the key is good but its user may not do this, such as work on a project it isn't assigned to."""


class NotFound(StatusError):
    """404: there is no such entry, or no such address."""


class Conflict(StatusError):
    """409: the entry's state forbids it, or the same thing exists already."""


class RateLimited(StatusError):
    """429: too many requests; `retry_after` says when to come back.

    Attributes:
        nothing_written: Whether Keito itself said so: before another's page, the write may have arrived.
    """


class ServerFailed(StatusError):
    """5xx: Keito, or something before it, failed; a write may have happened all the same."""

    nothing_written = False


class UnexpectedAnswer(StatusError):
    """Not Keito's word, or none to rely on; a write may have happened all the same."""

    nothing_written = False
    _who = "something else answered {status} in Keito's place"
