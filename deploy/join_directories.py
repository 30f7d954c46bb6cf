"""STATE/join: for each workload with a sidecar a directory with its token and the trust bundle, kept fresh."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from ca.join import join_directory, remove_join, write_join
from ca.state import CaState
from ca.tokens import JoinTokens, TokenError
from deploy.clock import now
from smi.model import ProxyModel

_log = logging.getLogger(__name__)
TOKEN_LIFETIME = timedelta(hours=24)
REFRESH_SECONDS = 600.0
"""How often tokens are looked at; they are replaced at half of their life."""


class JoinDirectories:
    """Writes what changed and nothing else, so that sidecars do not reread for nothing."""

    def __init__(self, state_dir: Path, state: CaState) -> None:
        self._root = state_dir
        self._state = state
        self._tokens = JoinTokens(state.join_token_key)

    def update(self, proxies: Iterable[ProxyModel]) -> None:
        """Make the directories those of `proxies`: stale ones are removed, tokens past half of their life replaced."""
        known = {proxy.key: proxy for proxy in proxies}
        bundle = self._state.authority(now()).bundle.own_pem
        for proxy in known.values():
            name = f"{proxy.key.namespace}/{proxy.key.name}"
            token = self._kept(proxy, name) or self._tokens.issue(proxy.identity, name, TOKEN_LIFETIME, now())
            write_join(self._root, proxy.key.namespace, proxy.key.name, token, bundle)
        present = {(path.parent.name, path.name) for path in (self._root / "join").glob("*/*")}
        for namespace, name in present - {(key.namespace, key.name) for key in known}:
            remove_join(self._root, namespace, name)
            _log.info("removed the join directory of %s/%s, which is no workload with a sidecar", namespace, name)

    def _kept(self, proxy: ProxyModel, name: str) -> str | None:
        """The token that is there, if it is good for at least half of a life more."""
        try:
            path = join_directory(self._root, proxy.key.namespace, proxy.key.name) / "token"
            token = path.read_text(encoding="ascii").strip()
            claims = self._tokens.verify(token, now())
        except (OSError, UnicodeDecodeError, TokenError):
            return None
        fresh = claims.expires_at - now() > TOKEN_LIFETIME / 2
        return token if fresh and claims.workload == name and claims.identity == proxy.identity else None
