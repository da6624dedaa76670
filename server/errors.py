"""Every refusal a client can see: its code, HTTP status, and whether asking again may help.

`timeout`, `unavailable` and `internal` mean that the outcome is unknown and the same request (with
the same `client_msg_id`) should be asked again. Every other code means that nothing was changed.
"""

from typing import Any, ClassVar


class ClientError(Exception):
    """A refusal that is shown to the client; each subclass is one code of the protocol."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    message: str = "Something went wrong here. Ask again."

    def __init__(
        self,
        message: str | None = None,
        *,
        details: list[dict[str, str]] | None = None,
        retry_after_ms: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Make the refusal; `reason` is for the log only and never reaches the client."""
        if message is not None:
            self.message = message
        self.details = details
        self.retry_after_ms = retry_after_ms
        self.reason = reason
        super().__init__(self.message)

    def to_wire(self) -> dict[str, Any]:
        """Return the error object of the protocol."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
        }
        if self.retry_after_ms is not None:
            error["retry_after_ms"] = self.retry_after_ms
        if self.details is not None:
            error["details"] = self.details
        return error


class ValidationFailedError(ClientError):
    """The request does not have the form that its schema asks for."""

    code = "validation_failed"
    status = 400
    message = "The request has a mistake in it."

    @classmethod
    def of(cls, field: str, problem: str) -> "ValidationFailedError":
        """Return the refusal that names one field and says what is wrong with it."""
        return cls(f"{field}: {problem}", details=[{"field": field, "problem": problem}])


class UnauthorizedError(ClientError):
    """There is no token, or not one that this server trusts."""

    code = "unauthorized"
    status = 401
    message = "A valid token is needed."


class TokenExpiredError(ClientError):
    """The token was good once; a fresh one is needed."""

    code = "token_expired"
    status = 401
    message = "The token has expired."


class ForbiddenError(ClientError):
    """The caller may see this, but not do it."""

    code = "forbidden"
    status = 403
    message = "This is not allowed."


class NotFoundError(ClientError):
    """It does not exist, or the caller is not a member: the answer is the same, byte for byte."""

    code = "not_found"
    status = 404
    message = "There is no such thing here."


class MethodNotAllowedError(ClientError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    status = 405
    message = "This path does not answer to this method."


class UnknownEventError(ClientError):
    """No request has this name."""

    code = "unknown_event"
    status = 404
    message = "There is no such event."


class ConversationClosedError(ClientError):
    """The conversation can be read, but not written to any more."""

    code = "conversation_closed"
    status = 409
    message = "This conversation is closed."


class EditWindowClosedError(ClientError):
    """The message is too old to be changed by a member."""

    code = "edit_window_closed"
    status = 409
    message = "It is too late to change this message."


class VersionConflictError(ClientError):
    """Somebody changed it since the caller looked."""

    code = "version_conflict"
    status = 409
    message = "The message was changed in the meantime."


class IdempotencyConflictError(ClientError):
    """This `client_msg_id` already stands for another message."""

    code = "idempotency_conflict"
    status = 409
    message = "This client_msg_id was already used for another message."


class PayloadTooLargeError(ClientError):
    """The request is larger than the limits allow."""

    code = "payload_too_large"
    status = 413
    message = "The request is too large."


class UnsupportedMediaError(ClientError):
    """The body is of a type that this path does not read."""

    code = "unsupported_media"
    status = 415
    message = "This content type is not supported here."


class RateLimitedError(ClientError):
    """The caller asks more often than the limits allow."""

    code = "rate_limited"
    status = 429
    retryable = True
    message = "Too many requests. Slow down."


class InternalError(ClientError):
    """Our mistake; the stack is in the log under the reference."""

    code = "internal"
    status = 500
    retryable = True


class UnavailableError(ClientError):
    """The database cannot be reached; the outcome is unknown."""

    code = "unavailable"
    status = 503
    retryable = True
    message = "The service is not available at the moment. Ask again."


class DeadlineError(ClientError):
    """The answer took too long; the outcome is unknown."""

    code = "timeout"
    status = 504
    retryable = True
    message = "The answer took too long. Ask again with the same id."


class StorageFullError(ClientError):
    """There is no room left on the disk; nothing was changed."""

    code = "storage_full"
    status = 507
    retryable = True
    message = "The server's storage is full."


class SettingsError(Exception):
    """The server cannot start like this; one sentence for the operator that names the setting."""
