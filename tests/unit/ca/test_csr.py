"""Signing requests: a P-256 key that its owner proves, and nothing else of what a peer sends."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ca.csr import MAX_CSR_LENGTH, CsrError, requested_key, signing_request

P256 = ec.SECP256R1()


def built(key: Any, algorithm: Any, *extensions: x509.ExtensionType, name: str = "") -> bytes:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
    builder = x509.CertificateSigningRequestBuilder(subject_name=x509.Name(names))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


def refusal(csr: bytes) -> str:
    with pytest.raises(CsrError) as refused:
        requested_key(csr)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@cache
def ours() -> bytes:
    return signing_request(ec.generate_private_key(P256))


def test_the_key_comes_back() -> None:
    key = ec.generate_private_key(P256)
    assert requested_key(signing_request(key)) == key.public_key()
    assert requested_key(signing_request(key).replace(b"\n", b"\r\n")) == key.public_key()


def test_our_own_names_nobody() -> None:
    csr = x509.load_pem_x509_csr(ours())
    assert (list(csr.subject), list(csr.extensions)) == ([], [])


def test_what_else_it_asks_for_is_of_no_account() -> None:
    key = ec.generate_private_key(P256)
    wishes = (
        x509.BasicConstraints(ca=True, path_length=5),
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://t/tulle/control-plane")]),
    )
    assert requested_key(built(key, hashes.SHA256(), *wishes, name="root")) == key.public_key()


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        (lambda: ec.generate_private_key(ec.SECP384R1()), hashes.SHA256()),
        (lambda: ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
        (lambda: ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
        (lambda: ec.generate_private_key(ec.BrainpoolP256R1()), hashes.SHA256()),
        (lambda: dsa.generate_private_key(1024), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate, None),
        (ed448.Ed448PrivateKey.generate, None),
    ],
    ids=["RSA", "P-384", "P-521", "secp256k1", "brainpool", "DSA", "Ed25519", "Ed448"],
)
def test_other_keys(make: Callable[[], Any], algorithm: Any) -> None:
    assert "P-256" in refusal(built(make(), algorithm))


def test_a_large_rsa_key_costs_nothing() -> None:
    csr = pem(rsa_request(16_384))
    began = time.process_time()
    assert "P-256" in refusal(csr)
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("algorithm", [hashes.SHA224(), hashes.SHA3_256()])
def test_other_hashes(algorithm: Any) -> None:
    assert "not signed with" in refusal(built(ec.generate_private_key(P256), algorithm))


def test_the_key_of_somebody_else() -> None:
    mine, theirs = ours(), signing_request(ec.generate_private_key(P256))
    one, other = (x509.load_pem_x509_csr(csr) for csr in (mine, theirs))
    forged = other.public_bytes(Encoding.DER).replace(other.signature, one.signature)
    if len(one.signature) == len(other.signature):
        assert "not signed by the key" in refusal(pem(forged))
    swapped = one.public_bytes(Encoding.DER).replace(point(one), point(other))
    assert "not signed by the key" in refusal(pem(swapped))


def test_sizes() -> None:
    assert "longer than" in refusal(b"x" * (MAX_CSR_LENGTH + 1))
    assert "longer than" in refusal(built(ec.generate_private_key(P256), hashes.SHA256(), huge()))


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        ours() * 2,
        b"text before\n" + ours(),
        ours().replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
        ours()[:-40],
        ours() + b"\0",
    ],
)
def test_what_is_no_request(csr: bytes) -> None:
    refusal(csr)


@settings(max_examples=400, deadline=500)
@given(st.binary(max_size=MAX_CSR_LENGTH + 10))
@example(b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 8000)
def test_any_bytes(data: bytes) -> None:
    refusal(data)


@settings(max_examples=600, deadline=500)
@given(st.binary(max_size=4000))
def test_any_der(data: bytes) -> None:
    refusal(pem(data))


@settings(max_examples=600, deadline=500)
@given(st.data())
def test_a_request_with_flaws(data: st.DataObject) -> None:
    """Bytes of a good request exchanged: refused, or it is still a request for the same key."""
    der = bytearray(x509.load_pem_x509_csr(ours()).public_bytes(Encoding.DER))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        key = requested_key(pem(bytes(der)))
    except CsrError:
        return
    assert key == requested_key(ours())


def pem(der: bytes) -> bytes:
    text = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + lines + b"\n-----END CERTIFICATE REQUEST-----\n"


def point(csr: x509.CertificateSigningRequest) -> bytes:
    return csr.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)  # type: ignore[arg-type]


def huge() -> x509.ExtensionType:
    return x509.SubjectAlternativeName([x509.DNSName(f"{number}.example") for number in range(600)])


def der(tag: int, *parts: bytes) -> bytes:
    """One element of DER."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2)
    return bytes([tag]) + length + content


def rsa_request(modulus_bits: int) -> bytes:
    """A request with an RSA key of that size and a signature that is none."""
    modulus = b"\0" + ((1 << (modulus_bits - 1)) | 12345).to_bytes(modulus_bits // 8)
    key = der(0x30, der(0x02, modulus), der(0x02, b"\1\0\1"))
    encryption = bytes.fromhex("300d06092a864886f70d0101010500")
    information = der(0x30, der(0x02, b"\0"), der(0x30), der(0x30, encryption, der(0x03, b"\0", key)), der(0xA0))
    with_sha256 = bytes.fromhex("300d06092a864886f70d01010b0500")
    return der(0x30, information, with_sha256, der(0x03, b"\0", b"\1" * (modulus_bits // 8)))
