"""The code in a signed address: who may fetch which file until when.

A browser cannot send a token with `<img src>`, and a token in an address would end up in histories
and logs. This code opens one file for one person for a few minutes; whether that person may still
see the file is asked again whenever it is used.
"""

import base64
import hashlib
import hmac

_VERSION = "palabre file 1"


def signed(secret: str, user_id: str, file_id: str, expires_s: int) -> str:
    """Return the code, 43 characters that an address may hold; the time in seconds since 1970."""
    # No id has a NUL in it, so that no two of these can be written alike.
    said = "\x00".join((_VERSION, user_id, file_id, str(expires_s)))
    code = hmac.new(secret.encode(), said.encode(errors="surrogatepass"), hashlib.sha256)
    return base64.urlsafe_b64encode(code.digest()).rstrip(b"=").decode()


def is_signed(secret: str, user_id: str, file_id: str, expires_s: int, code: str) -> bool:
    """Return whether this is the code, in a time that does not depend on how much of it is."""
    right = signed(secret, user_id, file_id, expires_s)
    return hmac.compare_digest(right.encode(), code.encode(errors="surrogatepass"))
