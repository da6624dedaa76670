"""The log: one line per event on standard error, words for people or JSON for collectors.

What looks like a token or a password is taken out of every line, ours and the libraries', and
control characters are written as escapes, so that nobody can forge a line or move a cursor.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

# Exact names: socketio and engineio add handlers of their own to loggers without a level.
_LIBRARIES = (
    "aiohttp",
    "asyncio",
    "engineio",
    "engineio.server",
    "socketio",
    "socketio.server",
    "tortoise",
)
_HIDDEN = "[hidden]"
_SECRET_KEYS = frozenset(
    {"authorization", "cookie", "password", "secret", "token", "x-palabre-key"}
)
_SECRETS = (
    (re.compile(r"eyJ[\w-]{5,}(\.[\w=-]*){1,2}"), _HIDDEN),
    (re.compile(r"(?i)palabre_key_[\w-]+"), _HIDDEN),
    (
        re.compile(r"(?i)\b((?:access_)?token[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;)}\]]+"),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), rf"\1{_HIDDEN}@"),
)
# Every secret that is looked for has one of these in it.
_SIGNS = ("eyj", "token", "bearer", "://", "palabre_key_")
_NUMBERS = frozenset({int, float, bool, type(None)})
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROL_IN_STACKS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_STACKS = frozenset({"exception", "stack"})


class _NamedLogger(structlog.WriteLogger):
    """Writes lines to standard error and knows which part of the server they are from."""

    def __init__(self, name: str = "server") -> None:
        super().__init__(sys.stderr)
        self.name = name


def configure(level: str, fmt: str) -> None:
    """Send everything that is logged from now on to standard error.

    `level` is debug, info, warning or error; `fmt` is words, json, or auto: words on a terminal.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    as_words = fmt == "words" or (fmt == "auto" and sys.stderr.isatty())
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_words else "iso", utc=not as_words),
        structlog.processors.StackInfoRenderer(),
    ]
    end: list[Processor] = [structlog.processors.format_exc_info, clean, _renderer(as_words)]
    structlog.configure(
        processors=[*common, *end],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=False,
    )
    _route_libraries(threshold, common, end)


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of one part of the server; it may be made before `configure`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take tokens, passwords and control characters out of a line; a processor of structlog."""
    if _is_harmless(event):
        return event
    return {key: _cleaned(key, value) for key, value in event.items()}


def _is_harmless(event: EventDict) -> bool:
    """Return whether nothing has to be taken out of a line, as of nearly all: in one look."""
    texts = [value for value in event.values() if type(value) not in _NUMBERS]
    names = [name.lower() for name in event]
    return all(type(text) is str for text in texts) and (
        _SECRET_KEYS.isdisjoint(names) and _is_plain("".join(texts))
    )


def _cleaned(key: str, value: Any) -> Any:
    """Return what may be written for this key."""
    if key.lower() in _SECRET_KEYS:
        return _HIDDEN
    if value is None or isinstance(value, bool | int | float) or _is_plain(value):
        return value
    if isinstance(value, Mapping):
        return {str(name): _cleaned(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned("", item) for item in value]
    text = str(value)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    control = _CONTROL_IN_STACKS if key in _STACKS else _CONTROL
    return control.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _is_plain(text: Any) -> bool:
    """Return whether this is a text with nothing in it that has to be taken out."""
    if not (isinstance(text, str) and text.isascii() and text.isprintable()):
        return False
    low = text.lower()
    return not any(sign in low for sign in _SIGNS)


def _renderer(as_words: bool) -> Processor:  # noqa: FBT001 - private, one caller
    if not as_words:
        return structlog.processors.JSONRenderer(_json)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _json(line: EventDict, **_: Any) -> str:
    return orjson.dumps(line, default=str).decode()


def _route_libraries(threshold: int, common: list[Processor], end: list[Processor]) -> None:
    """Send the standard library's loggers the same way; libraries say only what is wrong."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *end],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))
    logging.getLogger("server").setLevel(threshold)
    logging.captureWarnings(capture=True)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.getLogger("aiohttp.server").addFilter(_as_their_mistake)


def _as_their_mistake(record: logging.LogRecord) -> bool:
    """Make a warning of what is no HTTP: anybody could fill the log with stacks otherwise."""
    error = record.exc_info[1] if record.exc_info else None
    if getattr(error, "code", None) == 400:
        record.msg, record.exc_info = "malformed request", None
        record.args = ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
