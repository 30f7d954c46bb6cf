"""MeshConfig.spec.federation: which foreign roots are believed, and what is said about those that are not."""

from datetime import UTC, datetime, timedelta
from textwrap import indent

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smi.decode_federation import MAX_ROOTS_LENGTH
from smi.objects import ForeignDomain

_START = datetime(2026, 1, 1, tzinfo=UTC)


def root(uri: str | None, *, ca: bool = True) -> str:
    """A self-signed certificate in PEM that names `uri`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a root")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(77).not_valid_before(_START).not_valid_after(_START + timedelta(days=3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


WEST = root("spiffe://west.example")
EAST = root(None)


def federation(*entries: tuple[str, str]) -> str:
    """The YAML of a spec; the first entry's `trustDomain` is on line 7, its `roots` on line 8."""
    lines = ["trustDomain: own.example", "federation:"]
    for domain, roots in entries:
        lines += [f"- trustDomain: {domain}", "  roots: |", indent(roots, "    ").rstrip("\n")]
    return "\n" + "\n".join(lines)


def test_roots_of_other_domains(read_spec):
    config = read_spec("MeshConfig", federation(("west.example", WEST), ("east.example", EAST + WEST.strip()))).object
    assert config is not None
    assert [each.trust_domain for each in config.federation] == ["west.example"]  # EAST holds a root of west too
    config = read_spec("MeshConfig", federation(("west.example", WEST + WEST), ("east.example", EAST))).object
    assert config.federation == (
        ForeignDomain("east.example", (EAST.encode(),)),
        ForeignDomain("west.example", (WEST.encode(),)),
    )


def test_none_is_the_default(read_spec):
    assert read_spec("MeshConfig", " {}").object.federation == ()
    assert read_spec("MeshConfig", " {federation: []}").object.federation == ()


_OTHER = root("spiffe://other.example")
_LEAF = root("spiffe://west.example", ca=False)
_KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("domain", "roots", "found", "words"),
    [
        ("own.example", WEST, [("TL1219", 7), ("TL1219", 8)], "own trust domain"),
        ("West", WEST, [("TL1104", 7)], "lower case"),
        ("west.example", "no certificate", [("TL1219", 8)], "PEM"),
        ("west.example", WEST.replace("MII", "AAA"), [("TL1219", 8)], "PEM"),
        ("west.example", _OTHER, [("TL1219", 8)], "spiffe://other.example"),
        ("west.example", WEST + _OTHER, [("TL1219", 8)], "spiffe://other.example"),
        ("west.example", _LEAF, [("TL1219", 8)], "4d is not a signing certificate"),
        ("west.example", WEST + _KEY, [("TL1219", 8)], "private key"),
        ("west.example", root("spiffe://west.example/ns/a"), [("TL1219", 8)], "another trust domain"),
        ("west.example", "x" * (MAX_ROOTS_LENGTH + 1), [("TL1219", 8)], "longer"),
    ],
    ids=["own", "name", "text", "broken", "foreign", "one of two", "leaf", "key", "path", "long"],
)
def test_a_wrong_entry_is_left_out_alone(read_spec, domain, roots, found, words):
    reading = read_spec("MeshConfig", federation((domain, roots), ("east.example", EAST)))
    assert [each.trust_domain for each in reading.object.federation] == ["east.example"]
    assert reading.found == found
    assert words in reading.text


def test_a_key_given_by_mistake_is_not_repeated(read_spec):
    reading = read_spec("MeshConfig", federation(("west.example", _KEY)))
    assert _KEY.splitlines()[1][:20] not in reading.text


@pytest.mark.parametrize(
    ("entry", "code", "line"),
    [
        ("- {roots: x}", "TL1102", 6),
        ("- {trustDomain: west.example}", "TL1102", 6),
        ("- 5", "TL1101", 6),
        ("- {trustDomain: west.example, roots: 5}", "TL1101", 6),
    ],
)
def test_what_is_missing(read_spec, entry, code, line):
    reading = read_spec("MeshConfig", f"\nfederation:\n{entry}")
    assert reading.object.federation == ()
    assert (code, line) in reading.found


def test_a_domain_given_twice_counts_once(read_spec):
    reading = read_spec("MeshConfig", federation(("east.example", EAST), ("east.example", root(None))))
    assert reading.object.federation == (ForeignDomain("east.example", (EAST.encode(),)),)
    assert [code for code, _ in reading.found] == ["TL1106"]
