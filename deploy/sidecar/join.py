"""The join directory: what the control plane hands a workload. And the SDS files that Envoy reads.

In: a directory with `token` or `stream-token` (one line) and `bundle.pem` (root certificates). Out: their content, the
trust domain they belong to, and `token.json`, `trust.json` and `client.json`, each replaced by rename so that Envoy
never sees half a file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ca.identity import IdentityError, TrustDomain
from ca.join import BUNDLE, STREAM_TOKEN, TOKEN
from deploy.sidecar.errors import SidecarError
from deploy.sidecar.xds_cluster import CLIENT_SECRET, TOKEN_SECRET, TRUST_SECRET

_SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_SPIFFE_SCHEME = "spiffe://"


class JoinError(SidecarError):
    """The join directory cannot be used; the message is one line for the person who named it."""


@dataclass(frozen=True, slots=True)
class JoinMaterial:
    """What a join directory holds: a bearer token, and the roots as PEM."""

    token: str
    bundle: str

    def __repr__(self) -> str:
        return "JoinMaterial(token=<redacted>)"


def read_join_directory(directory: Path, token: str = TOKEN) -> JoinMaterial:
    """The content of `directory`, with the token in its file `token`; raises JoinError when it is missing, unreadable
    or incomplete.
    """
    try:
        exists = directory.is_dir()
    except OSError as error:
        raise JoinError(f"{directory} cannot be read: {error.strerror}") from None
    if not exists:
        raise JoinError(
            f"no join directory at {directory}: is `tulle serve` running with this workload in its files, "
            "and is this STATE/join/NAMESPACE/WORKLOAD?"
        )
    if token == STREAM_TOKEN and not (directory / token).exists():
        raise JoinError(
            f"{directory / token} is missing: `tulle serve` runs with --no-stream-tokens, and then a sidecar needs"
            " `tulle sidecar`, which gets it a certificate"
        )
    text = _read(directory / token).strip()
    bundle = _read(directory / BUNDLE)
    if not text or not text.isprintable() or " " in text:
        raise JoinError(f"{directory / token} holds no token: it must be one line without spaces")
    return JoinMaterial(text, bundle)


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
    token = directory / "token.json"
    replace_file(token, _sds_document(TOKEN_SECRET, {"generic_secret": {"secret": {"inline_string": material.token}}}))
    return token, write_trust_file(directory, material.bundle)


def write_trust_file(directory: Path, bundle: str) -> Path:
    """Writes the trust SDS file into `directory` if it differs; returns its path."""
    path = trust_file(directory)
    replace_file(path, _sds_document(TRUST_SECRET, {"validation_context": {"trusted_ca": {"inline_string": bundle}}}))
    return path


def trust_file(directory: Path) -> Path:
    """Where `write_trust_file` writes to."""
    return directory / "trust.json"


def client_file(directory: Path) -> Path:
    """Where `write_client_file` writes to."""
    return directory / "client.json"


def write_client_file(directory: Path, chain_pem: bytes, key_pem: bytes) -> None:
    """Writes the SDS file with the client certificate and its key: both change in one step."""
    pair = {
        "certificate_chain": {"inline_string": chain_pem.decode("ascii")},
        "private_key": {"inline_string": key_pem.decode("ascii")},
    }
    replace_file(client_file(directory), _sds_document(CLIENT_SECRET, {"tls_certificate": pair}))


def read_client_file(directory: Path) -> tuple[bytes, bytes] | None:
    """The chain and the key that `write_client_file` wrote into `directory`; None when it has not."""
    try:
        [secret] = json.loads(client_file(directory).read_text())["resources"]
    except FileNotFoundError:
        return None
    pair = secret["tls_certificate"]
    return pair["certificate_chain"]["inline_string"].encode(), pair["private_key"]["inline_string"].encode()


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
