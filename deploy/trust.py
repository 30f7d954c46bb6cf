"""Whom proxies believe: the secret `trust`, the same for all of them, kept current in the store.

In: the roots of the mesh, and the foreign trust domains that MeshConfig names. Out: a push where they have changed.
"""

from __future__ import annotations

from collections.abc import Callable

from ca.identity import TrustDomain
from ca.secrets import trust_secret
from ca.state import CaState
from deploy.configuration import TRUST_SCOPE, encoded
from smi.objects import ForeignDomain
from xds.store import ScopeChange, Store

Foreign = tuple[ForeignDomain, ...]


class Trust:
    """Pushes the bundle. ``foreign``: the trust domains to believe beside the mesh's own."""

    def __init__(self, state: CaState, store: Store, foreign: Callable[[], Foreign]) -> None:
        self._state = state
        self._store = store
        self._foreign = foreign
        self._pushed: tuple[bytes, Foreign] | None = None
        self._versions: set[str] = set()

    def push(self) -> None:
        """Serve the bundle as it is now; nothing is sent when it has not changed."""
        bundle, foreign = self._state.bundle, self._foreign()
        if (bundle.own_pem, foreign) == self._pushed:
            return
        if self._pushed is None or bundle.own_pem != self._pushed[0]:
            self._versions.clear()
        self._pushed = (bundle.own_pem, foreign)
        known = bundle.federated({TrustDomain(each.trust_domain): each.roots for each in foreign})
        secret = encoded(trust_secret(known))
        self._versions.add(secret.version)
        self._store.apply([ScopeChange(TRUST_SCOPE, (secret,))])

    def is_present(self, version: str | None) -> bool:
        """Whether the secret of this version holds all roots of the mesh that there are now, and no others, whatever
        it holds of foreign ones.
        """
        pushed = self._pushed is not None and self._pushed[0] == self._state.bundle.own_pem
        return pushed and version in self._versions
