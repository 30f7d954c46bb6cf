"""Clients from outside of the mesh: what a server's sidecar shows them, and how it turns them away.

They connect straight to a sidecar's inbound port, without an identity of their own.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from cryptography import x509

from translators.names import MESH_ALPN

_REQUEST = b"GET /books HTTP/1.1\r\nHost: bookstore.bookstore\r\nConnection: close\r\n\r\n"
_PATIENCE = 5.0


async def identity_shown(address: tuple[str, int], bundle: Path) -> str:
    """The SPIFFE ID in the certificate that a sidecar shows to anyone, after checking it against the roots in `bundle`.

    Raises OSError (of which ssl.SSLError is one) when there is no such certificate.
    """
    _, writer = await asyncio.open_connection(*address, ssl=_mesh_tls(bundle))
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return ", ".join(names.value.get_values_for_type(x509.UniformResourceIdentifier))


async def plaintext(address: tuple[str, int]) -> str:
    """How a sidecar answers plaintext HTTP: the first line of the answer, or how it ended the connection."""
    return await _ask(address, None)


async def tls_without_certificate(address: tuple[str, int], bundle: Path) -> str:
    """How a sidecar answers HTTP over TLS that looks like the mesh's, but without a client certificate."""
    return await _ask(address, _mesh_tls(bundle))


async def _ask(address: tuple[str, int], tls: ssl.SSLContext | None) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(*address, ssl=tls)
            try:
                writer.write(_REQUEST)
                answer = await reader.readline()
            finally:
                writer.transport.abort()
    except (ConnectionResetError, BrokenPipeError):
        return "connection reset"
    except ssl.SSLError as error:
        return f"handshake refused ({(error.reason or str(error)).lower().replace('_', ' ')})"
    except TimeoutError:
        return f"nothing within {_PATIENCE:g} s"
    return answer.decode(errors="replace").strip() or "connection closed"


def _mesh_tls(bundle: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # names in the mesh are SPIFFE IDs, which the caller compares
    context.load_verify_locations(bundle)
    context.set_alpn_protocols([MESH_ALPN])
    return context
