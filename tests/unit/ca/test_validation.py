from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from ca import profiles
from ca.authority import Authority, create_intermediate, create_root
from ca.bundle import TrustBundle
from ca.identity import TrustDomain, WorkloadIdentity
from ca.profiles import Validity
from ca.signer import new_private_key
from ca.validation import SvidError, verify_svid

HOUR = timedelta(hours=1)
Change = Callable[[list[tuple[x509.ExtensionType, bool]]], None]


def new_authority(trust_domain: TrustDomain, now: datetime) -> Authority:
    root = create_root(trust_domain, now)
    return Authority(root, create_intermediate(root, now))


def changed_leaf(authority: Authority, identity: WorkloadIdentity, now: datetime, extensions: Change) -> bytes:
    """A chain signed by the true intermediate, whose leaf has other extensions than the profile says."""
    key = new_private_key()
    issuer = authority.intermediate.certificate
    validity = Validity(now.replace(microsecond=0), now.replace(microsecond=0) + HOUR)
    model = profiles.leaf(identity.spiffe_id, key.public_key(), validity, issuer).sign(key, hashes.SHA256())
    listed = [(extension.value, extension.critical) for extension in model.extensions]
    extensions(listed)
    builder = x509.CertificateBuilder(issuer.subject, model.subject, model.public_key(), model.serial_number)
    builder = builder.not_valid_before(validity.not_before).not_valid_after(validity.not_after)
    for value, critical in listed:
        builder = builder.add_extension(value, critical)
    leaf = builder.sign(authority.intermediate.private_key, hashes.SHA256())
    return leaf.public_bytes(Encoding.PEM) + authority.intermediate.certificate_pem


def replace(kind: type[x509.ExtensionType], value: x509.ExtensionType | None, *, critical: bool = True) -> Change:
    def change(extensions: list[tuple[x509.ExtensionType, bool]]) -> None:
        extensions[:] = [entry for entry in extensions if not isinstance(entry[0], kind)]
        if value is not None:
            extensions.append((value, critical))

    return change


def names(*uris: str) -> Change:
    listed = [x509.UniformResourceIdentifier(uri) for uri in uris]
    return replace(x509.SubjectAlternativeName, x509.SubjectAlternativeName(listed))


def usage(*set_bits: str, critical: bool = True) -> Change:
    bits = dict.fromkeys(
        [
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ],
        False,
    )
    return replace(x509.KeyUsage, x509.KeyUsage(**bits | dict.fromkeys(set_bits, True)), critical=critical)


OURS = "spiffe://mesh.test/ns/bookstore/sa/bookstore-v1"


def test_a_leaf_made_by_hand_is_accepted(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    """So that the refusals below are due to what they change."""
    chain = changed_leaf(authority, identity, now, lambda _: None)
    assert verify_svid(chain, authority.bundle, now) == identity.spiffe_id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (names(OURS, OURS + "-2"), "2 URI names"),
        (names(OURS, "https://example.test/"), "2 URI names"),
        (names("https://mesh.test/ns/a/sa/b"), "not a SPIFFE ID"),
        (names("spiffe://mesh.test"), "not a SPIFFE ID"),
        (names(OURS + "\x00.evil"), "not a SPIFFE ID"),
        (replace(x509.SubjectAlternativeName, None), "0 URI names"),
        (replace(x509.BasicConstraints, x509.BasicConstraints(ca=True, path_length=None)), "signing certificate"),
        (replace(x509.BasicConstraints, None), "lacks an extension"),
        (replace(x509.KeyUsage, None), "lacks an extension"),
        (usage("digital_signature", critical=False), "critical key usage"),
        (usage("key_encipherment"), "critical key usage"),
        (usage("digital_signature", "key_cert_sign"), "may sign"),
        (usage("digital_signature", "crl_sign"), "may sign"),
        (
            replace(x509.ExtendedKeyUsage, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
            "no valid path",
        ),
    ],
)
def test_leaves_that_are_refused(
    authority: Authority, identity: WorkloadIdentity, now: datetime, change: Change, reason: str
) -> None:
    with pytest.raises(SvidError, match=reason):
        verify_svid(changed_leaf(authority, identity, now, change), authority.bundle, now)


def test_time(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    svid = authority.issue(identity.spiffe_id, HOUR, now)
    with pytest.raises(SvidError, match="expired at"):
        verify_svid(svid.certificate_chain_pem, authority.bundle, now + HOUR)
    with pytest.raises(SvidError, match="not valid before"):
        verify_svid(svid.certificate_chain_pem, authority.bundle, now - timedelta(minutes=2))


def test_a_leaf_signed_by_a_leaf(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    """A stolen workload key must not make other workloads."""
    stolen_key = new_private_key()
    validity = Validity(now.replace(microsecond=0), now.replace(microsecond=0) + HOUR)
    stolen = profiles.leaf(
        identity.spiffe_id, stolen_key.public_key(), validity, authority.intermediate.certificate
    ).sign(authority.intermediate.private_key, hashes.SHA256())
    forged = profiles.leaf(identity.spiffe_id, new_private_key().public_key(), validity, stolen)
    chain = [forged.sign(stolen_key, hashes.SHA256()), stolen, authority.intermediate.certificate]
    with pytest.raises(SvidError, match="no valid path"):
        verify_svid(b"".join(one.public_bytes(Encoding.PEM) for one in chain), authority.bundle, now)


def test_roots_speak_for_their_own_domain_only(
    authority: Authority, identity: WorkloadIdentity, trust_domain: TrustDomain, now: datetime
) -> None:
    partner = TrustDomain("partner.test")
    impostor = new_authority(trust_domain, now)
    roots = {
        trust_domain: (authority.root.certificate_pem,),
        partner: (impostor.root.certificate_pem,),
    }
    forged = impostor.issue(identity.spiffe_id, HOUR, now)
    with pytest.raises(SvidError, match="no valid path to a root of mesh"):
        verify_svid(forged.certificate_chain_pem, TrustBundle(trust_domain, roots), now)


def test_foreign_domains(authority: Authority, trust_domain: TrustDomain, now: datetime) -> None:
    partner = new_authority(TrustDomain("partner.test"), now)
    guest = WorkloadIdentity(partner.trust_domain, "shop", "till").spiffe_id
    chain = partner.issue(guest, HOUR, now).certificate_chain_pem
    with pytest.raises(SvidError, match=r"partner\.test is not trusted"):
        verify_svid(chain, authority.bundle, now)
    both = TrustBundle(trust_domain, {**authority.bundle.roots, **partner.bundle.roots})
    assert verify_svid(chain, both, now) == guest


def test_two_roots_of_one_domain(
    authority: Authority, identity: WorkloadIdentity, trust_domain: TrustDomain, now: datetime
) -> None:
    second = new_authority(trust_domain, now)
    roots = (authority.root.certificate_pem, second.root.certificate_pem)
    bundle = TrustBundle(trust_domain, {trust_domain: roots})
    for each in (authority, second):
        chain = each.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
        assert verify_svid(chain, bundle, now) == identity.spiffe_id


def test_chains_of_the_wrong_shape(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    chain = authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
    leaf = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.PEM)
    for wrong, reason in [
        (b"", "cannot be read"),
        (b"x" * 65537, "longer than"),
        (leaf, "no valid path"),
        (chain + authority.intermediate.certificate_pem * 5, "has 7 certificates"),
        (authority.intermediate.certificate_pem, "not a SPIFFE ID|signing certificate"),
    ]:
        with pytest.raises(SvidError, match=reason):
            verify_svid(wrong, authority.bundle, now)


# cryptography announces that it will refuse serial numbers below 1; this may refuse them already or not.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_damaged_leaf_is_refused_and_raises_nothing_else(
    authority: Authority, identity: WorkloadIdentity, now: datetime, position: float, byte: int
) -> None:
    chain = authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
    leaf = x509.load_pem_x509_certificate(chain)
    der = bytearray(leaf.public_bytes(Encoding.DER))
    where = int(position * len(der))
    # The count of unused bits before the signature is not signed, and readers ignore it over zero bits.
    if der[where] == byte or where == len(der) - len(leaf.signature) - 1:
        return
    der[where] = byte
    with pytest.raises(SvidError):
        verify_svid(pem(bytes(der)) + authority.intermediate.certificate_pem, authority.bundle, now)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(authority: Authority, now: datetime, content: bytes) -> None:
    for chain in (content, pem(content)):
        with pytest.raises(SvidError):
            verify_svid(chain, authority.bundle, now)


def pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
