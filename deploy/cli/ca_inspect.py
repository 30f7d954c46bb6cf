"""What `tulle ca inspect` says of the mesh's own signing certificates. In: certificates. Out: data, lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.inventory import Inventory
from ca.signer import uri_names
from deploy.cli.ca_report import moment, role

_NAMES = {x509.NameOID.SERIAL_NUMBER: "serialNumber"}
_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_SIGNING_USAGES = ("key_cert_sign", "crl_sign")


def as_data(stored: Inventory) -> list[dict[str, Any]]:
    """Each root with its intermediate, the older root first."""
    return [
        {
            "role": role(root, stored).removeprefix("the "),
            "signs": root.life.id == stored.record.issuing,
            "key": "offline" if root.life.offline else "online",
            "root": certificate_data(root.certificate),
            "intermediate": None if root.intermediate is None else certificate_data(root.intermediate),
        }
        for root in stored.roots
    ]


def as_text(stored: Inventory) -> Iterator[str]:
    """The same for people."""
    for root, chain in zip(stored.roots, as_data(stored), strict=True):
        signs = "signs" if chain["signs"] else "does not sign"
        yield f"{role(root, stored)}, which {signs} (its key is {'not ' if root.life.offline else ''}here)"
        yield from _lines(root.certificate)
        if root.intermediate is None:
            yield "its intermediate is missing"
        else:
            yield "its intermediate"
            yield from _lines(root.intermediate)


def as_pem(stored: Inventory) -> str:
    """The roots, to be given to whoever is to trust this mesh."""
    return "".join(root.certificate.public_bytes(Encoding.PEM).decode() for root in stored.roots)


def certificate_data(certificate: x509.Certificate) -> dict[str, Any]:
    """What identifies a certificate, and what it is good for."""
    return {
        "subject": certificate.subject.rfc4514_string(_NAMES),
        "issuer": certificate.issuer.rfc4514_string(_NAMES),
        "spiffe": uri_names(certificate),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "key": _key(certificate),
        "key_usage": _usage(certificate),
        "constraints": _constraints(certificate),
    }


def _lines(certificate: x509.Certificate) -> Iterator[str]:
    data = certificate_data(certificate)
    valid = f"{moment(certificate.not_valid_before_utc)} to {moment(certificate.not_valid_after_utc)}"
    for label, text in (
        ("subject", data["subject"] or "(empty)"),
        ("SPIFFE", ", ".join(data["spiffe"])),
        ("serial", data["serial"]),
        ("SHA-256", data["sha256"]),
        ("valid", valid),
        ("key", data["key"]),
        ("key usage", data["key_usage"]),
        ("constraints", data["constraints"]),
    ):
        yield f"  {label:<11} {text}"


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    return f"EC {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def _usage(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound:
        return "any"
    names = [name for name in (*_USAGES, *_SIGNING_USAGES) if getattr(found.value, name)]
    return f"{'critical: ' if found.critical else ''}{', '.join(names)}"


def _constraints(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return "none"
    below = "" if found.value.path_length is None else f", at most {found.value.path_length} below it"
    kind = f"signs certificates{below}" if found.value.ca else "signs no certificates"
    return f"{'critical: ' if found.critical else ''}{kind}"
