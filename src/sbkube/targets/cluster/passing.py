"""Which failures of kubectl pass by themselves, by its words, since it has no codes for them. Pure."""

from __future__ import annotations

import re
from enum import Enum


class Passing(Enum):
    NO = "the same would fail again"
    REFUSED = "the API server took nothing of it, and may in a moment"
    UNKNOWN = "the answer was lost: it was taken or not"


def passing(said: str) -> Passing:
    """Of many objects, one that is refused for good is enough."""
    if _FOR_GOOD.search(said):
        return Passing.NO
    lines = [_of_line(line) for line in said.splitlines()]
    return next((one for one in (Passing.UNKNOWN, Passing.REFUSED) if one in lines), Passing.NO)


def _of_line(line: str) -> Passing:
    # Whatever comes behind these two: nothing was sent, or nothing was stored.
    if "failed calling webhook" in line or "dial tcp" in line:
        return Passing.REFUSED
    if _UNKNOWN.search(line):
        return Passing.UNKNOWN
    return Passing.REFUSED if _REFUSED.search(line) else Passing.NO


_FOR_GOOD = re.compile(
    r"Error from server \((?!TooManyRequests|ServiceUnavailable|Timeout|ServerTimeout|InternalError)"
    r"|x509: |Unauthorized"
)
_REFUSED = re.compile(
    r"(?i)The connection to the server \S+ was refused|TLS handshake timeout|\(TooManyRequests\)|too many requests"
    r"|\(ServiceUnavailable\)|the server is currently unable to handle the request|apiserver is shutting down"
)
_UNKNOWN = re.compile(
    r"connection reset|connection lost|broken pipe|\bEOF$|i/o timeout|Client\.Timeout exceeded|etcdserver: "
    r"|\(Timeout\)|\(ServerTimeout\)|request did not complete within|unable to return a response in the time allotted"
    r"|unexpected error when reading response body"
)
