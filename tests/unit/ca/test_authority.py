from __future__ import annotations

import logging
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from ca.authority import (
    INTERMEDIATE_LIFETIME,
    ROOT_LIFETIME,
    Authority,
    AuthorityError,
    create_intermediate,
    create_root,
)
from ca.identity import SpiffeId, TrustDomain, WorkloadIdentity
from ca.signer import Signer
from ca.svid import X509Svid, renew_at
from ca.validation import verify_svid

HOUR = timedelta(hours=1)


@pytest.fixture(scope="session")
def svid(authority: Authority, identity: WorkloadIdentity, now: datetime) -> X509Svid:
    return authority.issue(identity.spiffe_id, HOUR, now)


def test_leaf_profile(svid: X509Svid, identity: WorkloadIdentity, now: datetime) -> None:
    leaf, intermediate = x509.load_pem_x509_certificates(svid.certificate_chain_pem)
    extensions = {type(found.value): found for found in leaf.extensions}
    names = extensions[x509.SubjectAlternativeName]
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(str(identity))]
    assert extensions[x509.BasicConstraints].critical
    assert extensions[x509.BasicConstraints].value == x509.BasicConstraints(ca=False, path_length=None)
    usage = extensions[x509.KeyUsage]
    assert usage.critical
    assert usage.value.digital_signature
    forbidden = (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.key_encipherment)
    assert not any(forbidden)
    assert set(extensions[x509.ExtendedKeyUsage].value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    issuer_key = intermediate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extensions[x509.AuthorityKeyIdentifier].value.key_identifier == issuer_key
    assert x509.SubjectKeyIdentifier in extensions
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    assert svid.not_before == leaf.not_valid_before_utc == (now - timedelta(seconds=60)).replace(microsecond=0)
    assert svid.not_after == leaf.not_valid_after_utc == (now + HOUR).replace(microsecond=0)
    key = load_pem_private_key(svid.private_key_pem, password=None)
    assert key.public_key() == leaf.public_key()


@pytest.mark.parametrize(("role", "path_length"), [("root", 1), ("intermediate", 0)])
def test_signing_profile(authority: Authority, role: str, path_length: int) -> None:
    certificate = getattr(authority, role).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://mesh.test")]


def test_two_generations_have_different_names(trust_domain: TrustDomain, now: datetime) -> None:
    first, second = create_root(trust_domain, now), create_root(trust_domain, now)
    assert first.certificate.subject != second.certificate.subject


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is an independent opinion")
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_the_chain(
    authority: Authority, svid: X509Svid, now: datetime, tmp_path: Path, purpose: str
) -> None:
    (tmp_path / "root.pem").write_bytes(authority.bundle.own_pem)
    (tmp_path / "chain.pem").write_bytes(svid.certificate_chain_pem)
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(now.timestamp()))]
    command += ["-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "chain.pem: OK\n"), result.stderr


def test_each_issue_has_its_own_key_and_serial(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    first, second = (authority.issue(identity.spiffe_id, HOUR, now) for _ in range(2))
    leaves = [x509.load_pem_x509_certificate(one.certificate_chain_pem) for one in (first, second)]
    assert first.private_key_pem != second.private_key_pem
    assert leaves[0].serial_number != leaves[1].serial_number


def test_dns_names_stand_beside_the_one_uri(authority: Authority, identity: WorkloadIdentity, now: datetime) -> None:
    svid = authority.issue(identity.spiffe_id, HOUR, now, dns_names=["localhost"])
    leaf = x509.load_pem_x509_certificate(svid.certificate_chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert verify_svid(svid.certificate_chain_pem, authority.bundle, now) == identity.spiffe_id


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=999)])
def test_too_short_lifetimes(
    authority: Authority, identity: WorkloadIdentity, now: datetime, lifetime: timedelta
) -> None:
    with pytest.raises(AuthorityError, match="too short"):
        authority.issue(identity.spiffe_id, lifetime, now)


def test_foreign_trust_domain_is_not_signed(authority: Authority, now: datetime) -> None:
    with pytest.raises(AuthorityError, match="not of trust domain mesh"):
        authority.issue(SpiffeId(TrustDomain("other.test"), "/ns/a/sa/b"), HOUR, now)


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(days=400)])
def test_nothing_is_signed_outside_the_signers_life(
    authority: Authority, identity: WorkloadIdentity, now: datetime, shift: timedelta
) -> None:
    with pytest.raises(AuthorityError, match="the clock says"):
        authority.issue(identity.spiffe_id, HOUR, now + shift)


def test_an_intermediate_of_another_root_is_refused(
    authority: Authority, trust_domain: TrustDomain, now: datetime
) -> None:
    other = create_root(trust_domain, now)
    with pytest.raises(ValueError, match="not signed by the root"):
        Authority(other, authority.intermediate)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        Signer(authority.root.certificate, authority.intermediate.private_key)


# Ten years, with every instant a start up or a renewal could fall on; sub-second parts included.
AGES = st.timedeltas(min_value=timedelta(0), max_value=ROOT_LIFETIME - timedelta(seconds=2))
LIFETIMES = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=800))


@given(age=AGES, wait=st.timedeltas(timedelta(0), INTERMEDIATE_LIFETIME), lifetime=LIFETIMES)
def test_no_child_outlives_its_parent(
    authority: Authority,
    identity: WorkloadIdentity,
    now: datetime,
    age: timedelta,
    wait: timedelta,
    lifetime: timedelta,
) -> None:
    current = Authority(authority.root, create_intermediate(authority.root, now + age))
    later = min(now + age + wait, now + ROOT_LIFETIME - timedelta(seconds=2))
    if current.needs_intermediate(later):
        current = Authority(current.root, create_intermediate(current.root, later))
        assert not current.needs_intermediate(later)
    if later >= current.intermediate.certificate.not_valid_after_utc:
        pytest.fail("an intermediate ended before it was replaced")
    svid = current.issue(identity.spiffe_id, lifetime, later)
    leaf, intermediate = x509.load_pem_x509_certificates(svid.certificate_chain_pem)
    root = current.root.certificate
    assert root.not_valid_before_utc <= intermediate.not_valid_before_utc <= leaf.not_valid_before_utc
    assert leaf.not_valid_after_utc <= intermediate.not_valid_after_utc <= root.not_valid_after_utc
    for instant in (svid.not_before, later, svid.not_after):
        assert verify_svid(svid.certificate_chain_pem, current.bundle, instant) == identity.spiffe_id


@given(lifetime=LIFETIMES, jitter=st.floats(min_value=0, max_value=1, exclude_max=True))
def test_renewal_falls_inside_the_life(
    authority: Authority, identity: WorkloadIdentity, now: datetime, lifetime: timedelta, jitter: float
) -> None:
    svid = authority.issue(identity.spiffe_id, lifetime, now)
    moment = renew_at(svid, jitter)
    life = svid.not_after - svid.issued_at
    assert now < moment < svid.not_after
    assert life * 0.58 < moment - now < life * 0.76


def test_renewal_in_the_middle_is_at_two_thirds(svid: X509Svid, now: datetime) -> None:
    expected = now + (svid.not_after - now) * 2 / 3
    assert abs(renew_at(svid, 0.5) - expected) < timedelta(milliseconds=1)


@pytest.mark.parametrize("jitter", [-0.01, 1.0, float("nan")])
def test_jitter_outside_its_range(svid: X509Svid, jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        renew_at(svid, jitter)


def test_no_text_form_shows_a_key(svid: X509Svid, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("test").info("issued %s and %r by %s", svid, [svid], authority)
    texts = [repr(svid), str(svid), f"{svid}", repr({"svid": svid}), repr(authority), str(authority.root)]
    secret = svid.private_key_pem.decode().splitlines()[1]
    for text in [*texts, caplog.text]:
        assert "PRIVATE KEY" not in text
        assert secret not in text
    assert "<redacted>" in repr(svid)
    assert str(svid.spiffe_id) in str(svid)


@given(
    lifetime=st.timedeltas(timedelta(minutes=1), timedelta(days=90)),
    skew=st.timedeltas(timedelta(seconds=-60), timedelta(seconds=60)),
    jitter=st.floats(min_value=0, max_value=1, exclude_max=True),
    age=AGES,
)
def test_clocks_that_differ_by_a_minute(
    authority: Authority,
    identity: WorkloadIdentity,
    now: datetime,
    lifetime: timedelta,
    skew: timedelta,
    jitter: float,
    age: timedelta,
) -> None:
    """A peer whose clock is wrong by up to a minute accepts a leaf when it is new, and until it is replaced; only the
    shortest lives are so short that a clock which is ahead sees the end first.
    """
    moment = now + age
    current = Authority(authority.root, create_intermediate(authority.root, moment))
    svid = current.issue(identity.spiffe_id, lifetime, moment)
    replaced = renew_at(svid, jitter)
    life = svid.not_after - svid.issued_at
    assert moment < replaced < svid.not_after
    for instant in (moment + skew, replaced + skew):
        if instant <= svid.not_after or life > timedelta(minutes=5):
            assert verify_svid(svid.certificate_chain_pem, current.bundle, min(instant, svid.not_after)) is not None
    if life > timedelta(minutes=5):
        assert replaced + skew < svid.not_after


@given(wrong=st.timedeltas(timedelta(0), ROOT_LIFETIME - timedelta(days=1)), lifetime=LIFETIMES)
def test_signers_made_by_a_clock_that_was_ahead(
    authority: Authority,
    identity: WorkloadIdentity,
    trust_domain: TrustDomain,
    now: datetime,
    wrong: timedelta,
    lifetime: timedelta,
) -> None:
    """The intermediate, and the root that follows this one, are good when the clock is right again."""
    later = Authority(authority.root, create_intermediate(authority.root, now + wrong))
    begins = authority.root.certificate.not_valid_before_utc
    successor = create_root(trust_domain, now + wrong, not_before=begins)
    for current in (later, Authority(successor, create_intermediate(successor, now + wrong))):
        svid = current.issue(identity.spiffe_id, lifetime, now)
        assert verify_svid(svid.certificate_chain_pem, current.bundle, now) == identity.spiffe_id
