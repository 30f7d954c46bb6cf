"""Certificates that nobody in the mesh has signed (an application's own TLS, and impostors), and those that sidecars
present.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MESH_ALPN = "tulle"
"""What sidecars offer to each other."""


@dataclass(frozen=True)
class OwnCertificate:
    """A self-made certificate for `uri` or `localhost`, and its key."""

    file: Path

    def server(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def trusting_client(self) -> ssl.SSLContext:
        """Believes this certificate only: what it reaches has the key, so nobody ended the TLS in between."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.set_alpn_protocols(["http/1.1"])
        return context


def own_certificate(directory: Path, uri: str = "") -> OwnCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-made")])
    now = dt.datetime.now(dt.UTC)
    alternative = x509.UniformResourceIdentifier(uri) if uri else x509.DNSName("localhost")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "own.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return OwnCertificate(file)


def nameless_client(*, alpn: str, certificate: OwnCertificate | None = None) -> ssl.SSLContext:
    """A client that believes anybody, offers `alpn`, and presents `certificate` if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    if certificate is not None:
        context.load_cert_chain(certificate.file)
    return context


async def certificate_of(port: int) -> x509.Certificate:
    """What a sidecar presents to a client that asks for the mesh and has no certificate itself."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=nameless_client(alpn=MESH_ALPN))
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(der)


def spiffe_id(certificate: x509.Certificate) -> str:
    """The one URI in a certificate's subjectAltName. Raises ValueError when it holds more or fewer names."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if len(list(names)) != 1:
        raise ValueError(f"not one name: {names}")
    [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri
