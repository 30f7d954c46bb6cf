"""What is said at enrolment, on the wire: one gRPC method whose request and answer are JSON. Pure.

`{"csr": PEM}` -> `{"certificate": chain PEM, "bundle": roots PEM, "xds_mtls_port": int, "not_after": RFC 3339}`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from ca.csr import MAX_CSR_LENGTH

ENROL = "/tulle.enrolment.v1.Enrolment/Enrol"
MAX_REQUEST_LENGTH = 2 * MAX_CSR_LENGTH
"""Bytes of JSON around a signing request that is as large as it may be."""


class MessageError(ValueError):
    """Not a message of enrolment; the text says why, without repeating it."""


@dataclass(frozen=True, slots=True)
class EnrolmentAnswer:
    """A client certificate with its intermediate, the roots to trust from now on, and where to go with it."""

    certificate_pem: bytes
    bundle_pem: bytes
    xds_mtls_port: int
    not_after: datetime


def encode_request(csr_pem: bytes) -> bytes:
    return json.dumps({"csr": csr_pem.decode("ascii")}).encode()


def decode_request(data: bytes) -> bytes:
    """The signing request in `data`. Raises MessageError, and nothing else, for any bytes."""
    if len(data) > MAX_REQUEST_LENGTH:
        raise MessageError(f"the request is longer than {MAX_REQUEST_LENGTH} bytes")
    match _json(data):
        case {"csr": str(csr)} if csr.isascii():
            return csr.encode("ascii")
    raise MessageError('the request is not JSON of the form {"csr": PEM}')


def encode_answer(answer: EnrolmentAnswer) -> bytes:
    fields = {
        "certificate": answer.certificate_pem.decode("ascii"),
        "bundle": answer.bundle_pem.decode("ascii"),
        "xds_mtls_port": answer.xds_mtls_port,
        "not_after": answer.not_after.isoformat(),
    }
    return json.dumps(fields).encode()


def decode_answer(data: bytes) -> EnrolmentAnswer:
    """The reverse of `encode_answer`; fields that are not known are left alone. Raises MessageError."""
    match _json(data):
        case {"certificate": str(chain), "bundle": str(bundle), "xds_mtls_port": int(port), "not_after": str(ends)}:
            try:
                not_after = datetime.fromisoformat(ends)
                return EnrolmentAnswer(chain.encode("ascii"), bundle.encode("ascii"), port, not_after)
            except ValueError as error:
                raise MessageError("the answer has a field that cannot be read") from error
    raise MessageError("the answer lacks a field")


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
