"""Decodes MeshConfig (tulle.dev/v1alpha1): settings for the whole mesh.

A setting that cannot be read takes its stricter value, because nobody knows whether it was to open or to close.
"""

from __future__ import annotations

import re

from ca.identity import IdentityError, TrustDomain
from smi import codes
from smi.decode_federation import decode_federation
from smi.fields import Fields
from smi.objects import Allowance, MeshConfig, Meta, MtlsMode, TrafficPolicy

NAME = "default"
MIN_LIFETIME = 60.0
MAX_LIFETIME = 366 * 86400.0
"""Seconds a certificate may be valid."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?[hms])+")
_DURATION_PART = re.compile(r"([0-9.]+)([hms])")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def decode_mesh_config(root: Fields, meta: Meta) -> MeshConfig | None:
    """The settings in `root`; None under another name than `default` or with a wrong trust domain."""
    if meta.name != NAME:
        message = f"a MeshConfig is named {NAME!r}, found {meta.name!r}"
        root.report.add(codes.BAD_VALUE, ("metadata", "name"), message)
        return None
    before = root.report.left_out
    spec = root.child("spec") or Fields(root.report, ("spec",), {})
    root.close()
    defaults = MeshConfig(meta=meta)
    trust_domain = spec.text("trustDomain")
    try:
        TrustDomain(trust_domain or defaults.trust_domain)
    except IdentityError:
        spec.wrong(codes.BAD_NAME, "trustDomain", "made of lower case letters, digits, '.', '-' and '_'")
    if root.report.left_out > before:
        return None
    config = MeshConfig(
        meta=meta,
        trust_domain=trust_domain or defaults.trust_domain,
        traffic_policy=spec.choice(
            "trafficPolicy", TrafficPolicy, defaults.traffic_policy, when_wrong=TrafficPolicy.SMI
        ),
        mtls=spec.choice("mtls", MtlsMode, defaults.mtls, when_wrong=MtlsMode.STRICT),
        egress=spec.choice("egress", Allowance, defaults.egress, when_wrong=Allowance.DENY),
        plaintext_upstreams=spec.choice(
            "plaintextUpstreams", Allowance, defaults.plaintext_upstreams, when_wrong=Allowance.DENY
        ),
        empty_rules=spec.choice("emptyRules", Allowance, defaults.empty_rules, when_wrong=Allowance.DENY),
        certificate_lifetime=_lifetime(spec, defaults.certificate_lifetime),
        federation=decode_federation(spec, trust_domain or defaults.trust_domain),
    )
    spec.close()
    return config


def _lifetime(spec: Fields, default: float) -> float:
    certificates = spec.child("certificates")
    if certificates is None:
        return default
    text = certificates.text("lifetime")
    certificates.close()
    if not text:
        return default
    seconds = duration(text)
    if seconds is None or not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        expected = f"a duration such as '24h' or '90m', from {MIN_LIFETIME:.0f}s to {MAX_LIFETIME / 3600:.0f}h"
        certificates.wrong(codes.BAD_VALUE, "lifetime", expected)
        return default
    return seconds


def duration(text: str) -> float | None:
    """Seconds in a text such as `1h30m` or `90s`; None when it is none. The form is that of Go's durations."""
    if len(text) > 64 or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
