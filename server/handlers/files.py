"""Files."""

from server.actions import files
from server.dispatch import Request, Route
from server.schemas.answers import SignedFiles
from server.schemas.requests import SignFiles

REQUESTS = (
    Request(
        "file:sign",
        SignFiles,
        SignedFiles,
        files.sign,
        (Route("POST", "files/sign/", SignedFiles),),
    ),
)
