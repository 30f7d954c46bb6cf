"""The join directory: what the control plane hands a workload, and the SDS files that Envoy reads it from.

In: a directory with `token` (one line) and `bundle.pem` (root certificates). Out: their content, the trust
domain they belong to, and `token.json` and `trust.json`, each replaced by rename so that Envoy never sees
half a file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ca.identity import IdentityError, TrustDomain
from ca.join import BUNDLE, TOKEN
from deploy.sidecar.errors import SidecarError
from deploy.sidecar.xds_cluster import TOKEN_SECRET, TRUST_SECRET

_SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_SPIFFE_SCHEME = "spiffe://"


class JoinError(SidecarError):
    """The join directory cannot be used; the message is one line for the person who named it."""


@dataclass(frozen=True, slots=True)
class JoinMaterial:
    """What a join directory holds: the bearer token, and the roots as PEM."""

    token: str
    bundle: str

    def __repr__(self) -> str:
        return "JoinMaterial(token=<redacted>)"


def read_join_directory(directory: Path) -> JoinMaterial:
    """The content of `directory`; raises JoinError when it is missing, unreadable or incomplete."""
    try:
        exists = directory.is_dir()
    except OSError as error:
        raise JoinError(f"{directory} cannot be read: {error.strerror}") from None
    if not exists:
        raise JoinError(
            f"no join directory at {directory}: is `tulle serve` running with this workload in its files, "
            "and is this STATE/join/NAMESPACE/WORKLOAD?"
        )
    token = _read(directory / TOKEN).strip()
    bundle = _read(directory / BUNDLE)
    if not token or not token.isprintable() or " " in token:
        raise JoinError(f"{directory / TOKEN} holds no token: it must be one line without spaces")
    return JoinMaterial(token, bundle)


def bundle_trust_domain(bundle: str) -> TrustDomain:
    """The trust domain that the roots in `bundle` name in their URI SANs (SPIFFE X.509-SVID, section 4.1).

    Raises JoinError when no root names one, or when they name several.
    """
    try:
        roots = x509.load_pem_x509_certificates(bundle.encode())
        names = {name for root in roots for name in _uri_names(root) if name.startswith(_SPIFFE_SCHEME)}
        domains = {TrustDomain(name.removeprefix(_SPIFFE_SCHEME).partition("/")[0]) for name in names}
    except (ValueError, IdentityError) as error:
        raise JoinError(f"the trust bundle cannot be read: {error}") from None
    if len(domains) != 1:
        found = ", ".join(sorted(map(str, domains))) or "none"
        raise JoinError(f"the roots of the trust bundle must name exactly one trust domain, found: {found}")
    return domains.pop()


def write_sds_files(directory: Path, material: JoinMaterial) -> tuple[Path, Path]:
    """Writes the token and trust SDS files into `directory` where they differ; returns their paths."""
    token, trust = directory / "token.json", directory / "trust.json"
    replace_file(token, _sds_document(TOKEN_SECRET, {"generic_secret": {"secret": {"inline_string": material.token}}}))
    roots = {"trusted_ca": {"inline_string": material.bundle}}
    replace_file(trust, _sds_document(TRUST_SECRET, {"validation_context": roots}))
    return token, trust


def replace_file(path: Path, text: str) -> None:
    """Makes `path` hold `text`, readable by its owner only, by rename; leaves it alone when it already
    does.
    """
    if path.exists() and path.read_text() == text:
        return
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.rename(path)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise JoinError(f"{path} is missing: is `tulle serve` running, and did it finish starting?") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise JoinError(f"{path} cannot be read: {reason}") from None


def _uri_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _sds_document(name: str, content: dict[str, object]) -> str:
    return json.dumps({"resources": [{"@type": _SECRET_TYPE, "name": name, **content}]}) + "\n"
