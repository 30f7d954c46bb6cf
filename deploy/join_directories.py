"""STATE/join: for each workload with a sidecar a directory with its tokens and the trust bundle, kept fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path

from ca.join import STREAM_TOKEN, TOKEN, join_directory, remove_join, write_join
from ca.spent import SpentTokens
from ca.state import CaState
from ca.tokens import JoinTokens, TokenError, Use
from deploy.clock import now
from smi.model import ProxyModel, WorkloadKey

_log = logging.getLogger(__name__)
TOKEN_LIFETIME = timedelta(hours=24)
REFRESH_SECONDS = 600.0
"""How often tokens are looked at; they are replaced at half of their life."""


class JoinDirectories:
    """Writes what changed and nothing else, so that sidecars do not reread for nothing.

    Join tokens are good until they are in `spent`; None: until they expire. Without `stream_tokens` none are written,
    and old ones are removed.
    """

    def __init__(
        self, state_dir: Path, state: CaState, spent: SpentTokens | None = None, *, stream_tokens: bool = True
    ) -> None:
        self._root = state_dir
        self._state = state
        self._spent = spent
        self._stream_tokens = stream_tokens
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
        bundle = self._state.bundle.own_pem
        stream_token = self._token(proxy, "stream", STREAM_TOKEN) if self._stream_tokens else None
        token = self._token(proxy, "join", TOKEN)
        write_join(self._root, proxy.key.namespace, proxy.key.name, token, bundle, stream_token=stream_token)

    def _token(self, proxy: ProxyModel, use: Use, file: str) -> str:
        kept = self._kept(proxy, use, file)
        return kept or self._tokens.issue(proxy.identity, str(proxy.key), TOKEN_LIFETIME, now(), use=use)

    def _remove(self, key: WorkloadKey) -> None:
        if join_directory(self._root, key.namespace, key.name).exists():
            remove_join(self._root, key.namespace, key.name)
            _log.info("removed the join directory of %s, which is no workload with a sidecar", key)

    def _kept(self, proxy: ProxyModel, use: Use, file: str) -> str | None:
        """The token that is there, if it is good for at least half of a life more."""
        try:
            path = join_directory(self._root, proxy.key.namespace, proxy.key.name) / file
            token = path.read_text(encoding="ascii").strip()
            claims = self._tokens.verify(token, now(), use=use)
        except (OSError, UnicodeDecodeError, TokenError):
            return None
        fresh = claims.expires_at - now() > TOKEN_LIFETIME / 2
        used = self._spent is not None and claims.token_id in self._spent
        mine = claims.workload == str(proxy.key) and claims.identity == proxy.identity
        return token if fresh and mine and not used else None
