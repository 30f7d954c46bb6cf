"""Certificates made to break the reader: each ends in an identity or in SvidError, soon, never in another's name."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.authority import Authority, create_intermediate, create_root
from ca.bundle import TrustBundle
from ca.identity import SpiffeId, TrustDomain, WorkloadIdentity
from ca.signer import new_private_key
from ca.validation import SvidError, verify_svid

HOUR = timedelta(hours=1)
SECONDS = 1.0
"""What one verification may take, on a machine that is busy with other things; it takes about a millisecond."""

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def verdict(chain: bytes, bundle: TrustBundle, now: datetime) -> SpiffeId | None:
    """The identity, or None when it is refused; fails for anything else, and for thinking too long."""
    begun = time.process_time()
    reason = ""
    try:
        found = verify_svid(chain, bundle, now)
    except SvidError as refused:
        found, reason = None, str(refused)
    assert time.process_time() - begun < SECONDS
    assert "\n" not in reason
    assert len(reason) < 500
    return found


USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
]
NAMES = st.one_of(
    st.sampled_from(
        [
            "spiffe://mesh.test/ns/bookstore/sa/bookstore-v1",
            "spiffe://mesh.test/ns/bookstore/sa/bookstore-v1\x00.evil",
            "spiffe://mesh.test\x00.evil/ns/a/sa/b",
            "spiffe://mesh.test/ns/a/sa/../b",
            "spiffe://MESH.test/ns/a/sa/b",
            "spiffe://mesh.test:443/ns/a/sa/b",
            "spiffe://user@mesh.test/ns/a/sa/b",
            "spiffe://mesh.test/ns/a/sa/b?x",
            "spiffe://mesh.test/ns/a/sa/b#x",
            "spiffe://mesh.test/ns/a/sa/%62",
            "spiffe://mesh.test//ns/a/sa/b",
            "spiffe://mesh.test/",
            "spiffe://mesh.test",
            "SPIFFE://mesh.test/ns/a/sa/b",
            "https://mesh.test/ns/a/sa/b",
            "spiffe://other.test/ns/a/sa/b",
            "",
            "spiffe://mesh.test/" + "a" * 3000,
        ]
    ),
    st.text(st.characters(max_codepoint=127), max_size=60).map(lambda text: "spiffe://mesh.test/" + text),
)


@st.composite
def leaves(draw: st.DrawFn) -> tuple[list[str], list[x509.ExtensionType], list[bool], timedelta, timedelta]:
    uris = draw(st.lists(NAMES, max_size=3))
    extensions: list[x509.ExtensionType] = []
    general: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    if draw(st.booleans()):
        general.append(x509.DNSName(draw(st.sampled_from(["mesh.test", "control-plane.tulle", "*", "a\x00b"]))))
    if draw(st.integers(0, 9)) == 0:
        general.append(x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c\x01a"))
    if general:
        extensions.append(x509.SubjectAlternativeName(general))
    if draw(st.integers(0, 9)):
        ca = draw(st.integers(0, 5)) == 0
        extensions.append(x509.BasicConstraints(ca=ca, path_length=draw(st.sampled_from([None, 0, 9])) if ca else None))
    if draw(st.integers(0, 9)):
        bits = draw(st.one_of(st.just({"digital_signature"}), st.sets(st.sampled_from(USAGES))))
        usage = {name: name in bits for name in USAGES}
        extensions.append(x509.KeyUsage(**usage, encipher_only=False, decipher_only=False))
    if draw(st.booleans()):
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]
        extensions.append(x509.ExtendedKeyUsage(draw(st.lists(st.sampled_from(usages), min_size=1, unique=True))))
    if draw(st.integers(0, 9)) == 0:
        content = b"x" * draw(st.sampled_from([0, 10, 40_000]))
        extensions.append(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4.5"), content))
    critical = draw(st.lists(st.booleans(), min_size=len(extensions), max_size=len(extensions)))
    begins = draw(st.sampled_from([timedelta(0), -HOUR, HOUR, timedelta(days=-900)]))
    ends = draw(st.sampled_from([HOUR, timedelta(seconds=-5), timedelta(days=9000)]))
    return uris, extensions, critical, begins, max(ends, begins + timedelta(seconds=1))


def signed(
    authority: Authority,
    now: datetime,
    extensions: Sequence[x509.ExtensionType],
    critical: Sequence[bool],
    begins: timedelta,
    ends: timedelta,
) -> bytes:
    """A leaf that the mesh's own intermediate has signed, whatever is in it."""
    moment = now.replace(microsecond=0)
    builder = x509.CertificateBuilder(
        issuer_name=authority.intermediate.certificate.subject,
        subject_name=x509.Name([]),
        public_key=KEY.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=moment + begins,
        not_valid_after=moment + ends,
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.intermediate.private_key.public_key()),
        critical=False,
    )
    for extension, is_critical in zip(extensions, critical, strict=True):
        builder = builder.add_extension(extension, critical=is_critical)
    leaf = builder.sign(authority.intermediate.private_key, hashes.SHA256())
    return leaf.public_bytes(Encoding.PEM) + authority.intermediate.certificate_pem


KEY = new_private_key()


@settings(max_examples=400, deadline=None)
@given(leaf=leaves())
def test_signed_by_us_but_strange(
    authority: Authority,
    now: datetime,
    leaf: tuple[list[str], list[x509.ExtensionType], list[bool], timedelta, timedelta],
) -> None:
    """Even what our own key has signed counts only in the one form that the profile gives it."""
    uris, extensions, critical, begins, ends = leaf
    found = verdict(signed(authority, now, extensions, critical, begins, ends), authority.bundle, now)
    if found is None:
        return
    assert [str(found)] == uris
    assert "\x00" not in str(found)
    assert begins <= timedelta(0) < ends
    kinds = {type(extension): extension for extension in extensions}
    assert not kinds[x509.BasicConstraints].ca  # type: ignore[attr-defined]
    usage = kinds[x509.KeyUsage]
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)  # type: ignore[attr-defined]
    assert critical[extensions.index(usage)]
    known = kinds.get(x509.ExtendedKeyUsage)
    assert known is None or ExtendedKeyUsageOID.CLIENT_AUTH in list(known)  # type: ignore[call-overload]


def test_the_plain_form_passes(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    """So that the test above cannot pass by refusing everything."""
    usage = {name: name == "digital_signature" for name in USAGES}
    extensions: list[x509.ExtensionType] = [
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))]),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.KeyUsage(**usage, encipher_only=False, decipher_only=False),
    ]
    chain = signed(authority, now, extensions, [True, True, True], timedelta(0), HOUR)
    assert verdict(chain, authority.bundle, now) == identity.spiffe_id


@settings(max_examples=400, deadline=None)
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4))
def test_flipped_bits_anywhere_in_the_chain(
    authority: Authority, identity: WorkloadIdentity, now: datetime, places: list[float]
) -> None:
    chain = bytearray(authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem)
    for where in places:
        place = int(where * len(chain) * 8)
        chain[place // 8] ^= 1 << place % 8
    assert verdict(bytes(chain), authority.bundle, now) in (None, identity.spiffe_id)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 400), length=st.integers(0, 400), filling=st.binary(max_size=40), which=st.integers(0, 1))
def test_spliced_bytes(
    authority: Authority,
    identity: WorkloadIdentity,
    now: datetime,
    cut: int,
    length: int,
    filling: bytes,
    which: int,
) -> None:
    """Lengths that lie, and parts that are missing or foreign."""
    chain = authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
    ders = [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(chain)]
    der = ders[which]
    ders[which] = der[:cut] + filling + der[cut + length :]
    found = verdict(b"".join(map(pem, ders)), authority.bundle, now)
    assert found is None or ders[which] == der


@pytest.mark.parametrize("count", [1_000, 20_000])
def test_huge_certificates(authority: Authority, identity: WorkloadIdentity, now: datetime, count: int) -> None:
    names = [x509.UniformResourceIdentifier(f"{identity}-{number}") for number in range(count)]
    moment = now.replace(microsecond=0)
    builder = x509.CertificateBuilder(
        authority.intermediate.certificate.subject, x509.Name([]), KEY.public_key(), 1, moment, moment + HOUR
    ).add_extension(x509.SubjectAlternativeName(names), critical=True)
    leaf = builder.sign(authority.intermediate.private_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    assert verdict(leaf + authority.intermediate.certificate_pem, authority.bundle, now) is None


def test_many_intermediates_of_one_name(
    authority: Authority, identity: WorkloadIdentity, trust_domain: TrustDomain, now: datetime
) -> None:
    """A verifier that tries all paths through look-alikes would not come back."""
    leaf = x509.load_pem_x509_certificate(authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem)
    model = authority.intermediate.certificate
    alike = []
    for _ in range(4):
        builder = x509.CertificateBuilder(model.subject, model.subject, KEY.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(model.not_valid_before_utc).not_valid_after(model.not_valid_after_utc)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        alike.append(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM))
    assert verdict(leaf.public_bytes(Encoding.PEM) + b"".join(alike), authority.bundle, now) is None


def test_a_foreign_root_never_speaks_for_us(
    authority: Authority, identity: WorkloadIdentity, trust_domain: TrustDomain, now: datetime
) -> None:
    """Not even with an intermediate and a leaf that both name our domain, whatever is in the bundle."""
    partner = TrustDomain("partner.test")
    impostor = create_root(trust_domain, now)
    forged = Authority(impostor, create_intermediate(impostor, now))
    bundle = authority.bundle.federated({partner: [impostor.certificate_pem]})
    assert bundle.own_pem == authority.bundle.own_pem
    chain = forged.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
    assert verdict(chain, bundle, now) is None
    genuine = authority.issue(identity.spiffe_id, HOUR, now).certificate_chain_pem
    assert verdict(genuine, bundle, now) == identity.spiffe_id
