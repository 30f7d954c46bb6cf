"""The part of a Kubernetes API server that reviews tokens, over TLS on loopback.

As the real one does, it answers 201 with a status for whatever is asked: `authenticated` is absent and `error` tells
why, where a token is not good. It checks signature, expiry, issuer and audience by itself.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://kubernetes.default.svc.cluster.local"
OURS = "the control plane's own token"


@dataclass
class ReviewApi:
    """`url` and `ca_pem` are what a client needs; `answer` replaces the next answers; `asked` are the requests."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    url: str = ""
    ca_pem: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    with_audiences: bool = True

    @property
    def public_key_pem(self) -> bytes:
        public = self.key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def token(
        self, *, audience: Any = "tulle-xds", lifetime: float = 3600, pod: str | None = "cart-1", **more: Any
    ) -> str:
        """A projected token of service account `cart` in `shop`, as the API server makes them."""
        now = int(time.time())
        bound = {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "1"}}
        claims = {
            "iss": ISSUER,
            "aud": [audience] if isinstance(audience, str) else audience,
            "exp": now + int(lifetime),
            "iat": now,
            "nbf": now,
            "sub": "system:serviceaccount:shop:cart",
            "kubernetes.io": {**bound, "pod": {"name": pod, "uid": "2"}} if pod else bound,
            **more,
        }
        return jwt.encode({name: each for name, each in claims.items() if each is not None}, self.key, "RS256")

    async def review(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {OURS}":
            return web.json_response({"kind": "Status", "status": "Failure", "code": 401}, status=401)
        body = await request.json()
        self.asked.append(body)
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response({**body, "metadata": {}, "status": self._status(body["spec"])}, status=201)

    def _status(self, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            claims = jwt.decode(
                spec["token"], self.public_key_pem, ["RS256"], audience=spec["audiences"], issuer=ISSUER
            )
        except jwt.PyJWTError as error:
            return {"user": {}, "error": f"[invalid bearer token, {error}]"}
        pod = claims["kubernetes.io"].get("pod")
        extra = {"authentication.kubernetes.io/pod-name": [pod["name"]]} if pod else {}
        user = {"username": claims["sub"], "uid": "1", "groups": ["system:serviceaccounts"], "extra": extra}
        status = {"authenticated": True, "user": user}
        return status | ({"audiences": spec["audiences"]} if self.with_audiences else {})


@asynccontextmanager
async def review_api(directory: Path) -> AsyncIterator[ReviewApi]:
    api = ReviewApi()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = directory / "api.pem"
    api.ca_pem = _self_signed(file)
    context.load_cert_chain(file)
    application = web.Application()
    application.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", api.review)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    api.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await runner.cleanup()


def _self_signed(file: Path) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + pem)
    return pem.decode()
