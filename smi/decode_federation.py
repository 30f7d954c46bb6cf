"""Decodes `spec.federation` of MeshConfig: other trust domains, and the roots that may speak for each of them.

An entry with anything wrong in it is left out as a whole: a root too many would let somebody in.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from ca.identity import IdentityError, TrustDomain
from smi import codes
from smi.fields import Fields
from smi.objects import ForeignDomain
from smi.report import dotted

MAX_DOMAINS = 64
MAX_ROOTS_LENGTH = 65536
"""Characters of the `roots` of one domain: about 50 certificates."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for odd certificates, when a part is first looked at."""


def decode_federation(spec: Fields, own: str) -> tuple[ForeignDomain, ...]:
    """The entries of `spec.federation` that have no error, by trust domain. `own`: the domain of this mesh."""
    found: dict[str, ForeignDomain] = {}
    for position, entry in enumerate(spec.children("federation")):
        before = entry.report.left_out
        name = _trust_domain(entry, own)
        roots = _roots(entry, name)
        entry.close()
        if name in found:
            _wrong(entry, "trustDomain", f"{name} is given twice; one entry may hold several roots", duplicate=True)
        if position >= MAX_DOMAINS:
            _wrong(entry, "trustDomain", f"there are more than {MAX_DOMAINS} entries")
        if name and entry.report.left_out == before:
            found[name] = ForeignDomain(name, roots)
    return tuple(domain for _, domain in sorted(found.items()))


def _trust_domain(entry: Fields, own: str) -> str:
    text = entry.text("trustDomain", required=True)
    if not text:
        return ""
    try:
        TrustDomain(text)
    except IdentityError:
        entry.wrong(codes.BAD_NAME, "trustDomain", "made of lower case letters, digits, '.', '-' and '_'")
        return ""
    if text == own:
        _wrong(entry, "trustDomain", f"{text} is the mesh's own trust domain, whose roots are no others")
    return text


def _roots(entry: Fields, domain: str) -> tuple[bytes, ...]:
    text = entry.text("roots", required=True)
    if not text:
        return ()
    problem: str | None = None
    roots: tuple[bytes, ...] = ()
    if len(text) > MAX_ROOTS_LENGTH:
        problem = f"longer than {MAX_ROOTS_LENGTH} characters"
    elif "PRIVATE KEY" in text:
        problem = "a private key is among them; only certificates belong here, and that key is no secret any more"
    else:
        try:
            certificates = x509.load_pem_x509_certificates(text.encode())
            problem = next(filter(None, (_unfit(each, domain) for each in certificates)), None)
            roots = tuple(dict.fromkeys(each.public_bytes(Encoding.PEM) for each in certificates))
        except _UNREADABLE:
            # What was written is not repeated: it may be a secret by mistake.
            problem = "not certificates in PEM, such as -----BEGIN CERTIFICATE-----"
    if problem is not None:
        _wrong(entry, "roots", problem)
    return roots


def _unfit(root: x509.Certificate, domain: str) -> str | None:
    """Why a certificate cannot be a root of `domain`; SPIFFE X509-SVID, sections 2 and 4.1."""
    try:
        if not root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return f"{_named(root)} is not a signing certificate"
    except x509.ExtensionNotFound:
        return f"{_named(root)} is not a signing certificate"
    try:
        names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    spiffe = [uri for uri in uris if uri.lower().startswith("spiffe:")]
    if domain and spiffe not in ([], [f"spiffe://{domain}"]):
        return f"{_named(root)} is of another trust domain: it names {', '.join(spiffe)[:300]!r}"
    return None


def _named(root: x509.Certificate) -> str:
    return f"the certificate with the serial number {root.serial_number:x}"


def _wrong(entry: Fields, key: str, problem: str, *, duplicate: bool = False) -> None:
    code = codes.DUPLICATE_ENTRY if duplicate else codes.BAD_FEDERATION
    entry.report.add(code, entry.at(key), f"{dotted(entry.at(key))}: {problem}")
