"""STATE/join: for each workload with a sidecar a directory with its token and the trust bundle, kept fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from ca.join import join_directory, remove_join, write_join
from ca.state import CaState
from ca.tokens import JoinTokens, TokenError
from deploy.clock import now
from smi.model import ProxyModel, WorkloadKey

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
        self._owed: dict[WorkloadKey, None] = {}

    def update(self, proxies: Mapping[WorkloadKey, ProxyModel]) -> None:
        """Make the directories those of `proxies`: stale ones are removed, tokens past half of their life replaced."""
        for proxy in proxies.values():
            self._write(proxy)
        present = {WorkloadKey(path.parent.name, path.name) for path in (self._root / "join").glob("*/*")}
        for key in present - proxies.keys():
            self._remove(key)

    def follow(self, changed: Iterable[WorkloadKey], proxies: Mapping[WorkloadKey, ProxyModel]) -> None:
        """The same for what has changed, and for what could not be written before."""
        self._owed.update(dict.fromkeys(changed))
        for key in tuple(self._owed):
            if key in proxies:
                self._write(proxies[key])
            else:
                self._remove(key)
            del self._owed[key]

    async def refresh(self, proxies: Mapping[WorkloadKey, ProxyModel]) -> None:
        """Replace tokens past half of their life, without holding up whatever else there is to do."""
        for proxy in tuple(proxies.values()):
            if proxy.key in proxies:
                self._write(proxy)
            await asyncio.sleep(0)

    def _write(self, proxy: ProxyModel) -> None:
        name = str(proxy.key)
        token = self._kept(proxy, name) or self._tokens.issue(proxy.identity, name, TOKEN_LIFETIME, now())
        bundle = self._state.authority(now()).bundle.own_pem
        write_join(self._root, proxy.key.namespace, proxy.key.name, token, bundle)

    def _remove(self, key: WorkloadKey) -> None:
        if join_directory(self._root, key.namespace, key.name).exists():
            remove_join(self._root, key.namespace, key.name)
            _log.info("removed the join directory of %s, which is no workload with a sidecar", key)

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
