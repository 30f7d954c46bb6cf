"""Who may have a stream: join tokens prove a workload, and the mesh must know it as it presents itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ca.tokens import JoinTokens, TokenError
from deploy.clock import now
from smi.model import Mesh, WorkloadKey
from xds.authentication import AuthenticationError, Credential, Peer

_SCHEME = "bearer "


class JoinTokenAuthenticator:
    """Reads the join token that the sidecar's credential injector puts into each stream's headers."""

    def __init__(self, tokens: JoinTokens) -> None:
        self._tokens = tokens

    async def authenticate(self, peer: Peer) -> Credential:
        """The workload that the peer's token was made for. Raises AuthenticationError; its text holds no token."""
        header = peer.metadata.get("authorization", "")
        if not header.lower().startswith(_SCHEME):
            raise AuthenticationError("no join token: the header `authorization: Bearer TOKEN` is missing")
        try:
            claims = self._tokens.verify(header[len(_SCHEME) :].strip(), now())
        except TokenError as error:
            raise AuthenticationError(str(error)) from None
        return Credential(str(claims.identity), claims.workload, claims.expires_at.timestamp())


def authorizer(mesh: Callable[[], Mesh]) -> Callable[[str, Mapping[str, Any], Credential], str | None]:
    """Refuses proxies whose workload is not in the mesh, or is declared to be something else than they claim."""

    def refusal(node_id: str, metadata: Mapping[str, Any], credential: Credential) -> str | None:
        namespace, _, name = node_id.partition("/")
        proxy = mesh().proxies.get(WorkloadKey(namespace, name))
        if proxy is None:
            return f"there is no Workload {node_id} with a sidecar"
        if str(proxy.identity) != credential.subject:
            return f"Workload {node_id} is {proxy.identity}, and the credential is for {credential.subject}"
        claimed = metadata.get("tulle", {})
        capture = claimed.get("capture") if isinstance(claimed, Mapping) else None
        if capture is not None and capture != proxy.capture.value:
            return (
                f"the sidecar of {node_id} runs in {str(capture)[:32]} mode, and is declared {proxy.capture.value}:"
                " start it with or without --transparent, or set spec.capture"
            )
        return None

    return refusal
