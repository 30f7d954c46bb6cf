"""A Kubernetes API server, as far as tests of CRDs need one: requests by dicts, answers with status and warnings."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    warnings: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        return self.body.get("message", "") if isinstance(self.body, dict) else str(self.body)

    @property
    def causes(self) -> list[str]:
        """The fields that an Invalid answer complains of."""
        details = self.body.get("details", {}) if isinstance(self.body, dict) else {}
        return [cause.get("field", "") for cause in details.get("causes", [])]


class ApiServer:
    """The server of the current context of a kubeconfig, with its certificate or token."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self._url = cluster["server"].rstrip("/")
        self._token = user.get("token")
        with tempfile.TemporaryDirectory() as scratch:
            here = Path(scratch)
            authority = _file(cluster, "certificate-authority", kubeconfig, here)
            certificate = _file(user, "client-certificate", kubeconfig, here)
            self._tls = ssl.create_default_context(cafile=authority)
            if certificate:
                self._tls.load_cert_chain(certificate, _file(user, "client-key", kubeconfig, here))

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, sent: str = "", accept: str = ""
    ) -> Answer:
        """Any status is an answer; only a server that cannot be reached raises."""
        headers = {"Accept": accept or "application/json", "Content-Type": sent or "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def get(self, path: str, **more: str) -> Answer:
        return self.ask("GET", path, **more)


def until(what: str, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition of the server."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def _answer(status: int, headers: Any, raw: bytes) -> Answer:
    try:
        body = json.loads(raw)
    except ValueError:
        body = raw.decode(errors="replace")
    return Answer(status, body, headers.get_all("Warning") or [])


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _file(entry: Mapping[str, Any], key: str, kubeconfig: Path, scratch: Path) -> str | None:
    """The path of what a kubeconfig gives as a path or, under `KEY-data`, in itself."""
    if f"{key}-data" in entry:
        path = scratch / key
        path.write_bytes(base64.b64decode(entry[f"{key}-data"]))
        return str(path)
    return str(kubeconfig.parent / entry[key]) if key in entry else None
