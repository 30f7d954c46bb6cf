"""SPIFFE identities as values.

Source of the rules: the SPIFFE ID specification, sections 2.1 (trust domain) and 2.2 (path).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_MAX_ID_LENGTH = 2048


class IdentityError(ValueError):
    """A text that is not a valid SPIFFE ID, trust domain, or workload identity."""


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """The name of a trust domain, such as `cluster.local`: lower case letters, digits, dots, dashes,
    underscores.
    """

    name: str

    def __post_init__(self) -> None:
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise IdentityError(f"invalid trust domain {self.name!r}: use lower case letters, digits, '.', '-', '_'")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID: `spiffe://<trust domain><path>`, the path beginning with a slash."""

    trust_domain: TrustDomain
    path: str

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise IdentityError(f"invalid SPIFFE ID path {self.path!r}: it must begin with '/'")
        for segment in self.path[1:].split("/"):
            if not _SEGMENT.fullmatch(segment) or segment in (".", ".."):
                raise IdentityError(f"invalid SPIFFE ID path {self.path!r}: bad segment {segment!r}")
        if len(str(self)) > _MAX_ID_LENGTH:
            raise IdentityError(f"SPIFFE ID longer than {_MAX_ID_LENGTH} bytes")

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """The ID written as `uri`; raises IdentityError for anything else, queries and fragments included."""
        scheme = "spiffe://"
        if not uri.startswith(scheme):
            raise IdentityError(f"{uri!r} is not a SPIFFE ID: it must begin with {scheme}")
        domain, slash, path = uri.removeprefix(scheme).partition("/")
        return cls(TrustDomain(domain), slash + path)

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadIdentity:
    """Who a workload is: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`."""

    trust_domain: TrustDomain
    namespace: str
    service_account: str
    _uri: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for part in (self.namespace, self.service_account):
            if not _SEGMENT.fullmatch(part) or part in (".", ".."):
                raise IdentityError(f"invalid name {part!r} in a workload identity")
        uri = f"spiffe://{self.trust_domain.name}/ns/{self.namespace}/sa/{self.service_account}"
        if len(uri) > _MAX_ID_LENGTH:
            raise IdentityError(f"SPIFFE ID longer than {_MAX_ID_LENGTH} bytes")
        object.__setattr__(self, "_uri", uri)

    @property
    def spiffe_id(self) -> SpiffeId:
        return SpiffeId(self.trust_domain, f"/ns/{self.namespace}/sa/{self.service_account}")

    @classmethod
    def from_spiffe_id(cls, spiffe_id: SpiffeId) -> WorkloadIdentity:
        """The workload named by `spiffe_id`; raises IdentityError when the ID names something else."""
        match spiffe_id.path.split("/"):
            case ["", "ns", namespace, "sa", service_account]:
                return cls(spiffe_id.trust_domain, namespace, service_account)
        raise IdentityError(f"{spiffe_id} does not name a workload")

    def __str__(self) -> str:
        return self._uri


@lru_cache(maxsize=65_536)
def workload_identity(trust_domain: TrustDomain, namespace: str, service_account: str) -> WorkloadIdentity:
    """The same as `WorkloadIdentity(...)`, errors included, for those who ask for the same ones again and again."""
    return WorkloadIdentity(trust_domain, namespace, service_account)


@dataclass(frozen=True, slots=True, order=True)
class ProxyIdentity:
    """Who a proxy is towards the control plane: the sidecar of one workload. It is for xDS alone: nothing in the data
    plane goes by this name, and no name of the data plane is of this form.

    `spiffe://<trust domain>/tulle/proxy/<namespace>/<workload>/sa/<service account>`
    """

    trust_domain: TrustDomain
    namespace: str
    workload: str
    service_account: str

    def __post_init__(self) -> None:
        _ = self.spiffe_id  # its rules are the rules here

    @property
    def spiffe_id(self) -> SpiffeId:
        path = ("tulle", "proxy", self.namespace, self.workload, "sa", self.service_account)
        for part in path:
            if not _SEGMENT.fullmatch(part):
                raise IdentityError(f"invalid name {part!r} in the identity of a proxy")
        return SpiffeId(self.trust_domain, "/" + "/".join(path))

    @property
    def name(self) -> str:
        """The workload as `namespace/workload`."""
        return f"{self.namespace}/{self.workload}"

    @property
    def serves(self) -> WorkloadIdentity:
        """Who the workload is in the data plane."""
        return WorkloadIdentity(self.trust_domain, self.namespace, self.service_account)

    @classmethod
    def of(cls, identity: WorkloadIdentity, workload: str) -> ProxyIdentity:
        """The proxy of the workload called `workload` in the namespace of `identity`."""
        return cls(identity.trust_domain, identity.namespace, workload, identity.service_account)

    @classmethod
    def from_spiffe_id(cls, spiffe_id: SpiffeId) -> ProxyIdentity:
        """The proxy named by `spiffe_id`; raises IdentityError when the ID names something else."""
        match spiffe_id.path.split("/"):
            case ["", "tulle", "proxy", namespace, workload, "sa", service_account]:
                return cls(spiffe_id.trust_domain, namespace, workload, service_account)
        raise IdentityError(f"{spiffe_id} does not name a proxy")

    def __str__(self) -> str:
        return str(self.spiffe_id)


def proxy_id(identity: WorkloadIdentity, workload: str) -> SpiffeId:
    """The SPIFFE ID of the proxy of the workload called `workload`, which is `identity` in the data plane."""
    return ProxyIdentity.of(identity, workload).spiffe_id


def control_plane_id(trust_domain: TrustDomain) -> SpiffeId:
    """The identity of the control plane itself: no workload can hold it, since its path is not of a
    workload's form.
    """
    return SpiffeId(trust_domain, "/tulle/control-plane")


CONTROL_PLANE_NAME = "control-plane.tulle"
"""The DNS name in the control plane's certificate and in no other, for clients that check names and not SPIFFE IDs."""
