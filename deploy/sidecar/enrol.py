"""`python -m deploy.sidecar.enrol`: gets the sidecar a client certificate, and ends.

A process of its own, because gRPC's threads and memory are no good in the launcher. In: on the command line, where
things are; never a secret. The key is made here, and goes into `client.json` of the runtime directory, which Envoy
reads, and nowhere else. Out: one line of JSON: `{"mtls_port": N}`, or `{"refused": why}`, or `{"unreachable": why}`.

With a certificate from before it renews that over the mTLS port. Where that fails, and at first, it exchanges the join
token over the token port. The token is shown to nobody but the control plane: the server must prove by a certificate
of the mesh's roots that it has the DNS name `control-plane.tulle`, which no other certificate carries.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ca.csr import signing_request
from ca.identity import CONTROL_PLANE_NAME, ProxyIdentity
from ca.signer import new_private_key, private_key_pem
from ca.validation import SvidError
from deploy.enrolment_messages import ENROL, EnrolmentAnswer, MessageError, decode_answer, encode_request
from deploy.sidecar.client_certificate import proxy_of
from deploy.sidecar.join import (
    JoinError,
    JoinMaterial,
    bundle_trust_domain,
    read_client_file,
    read_join_directory,
    write_client_file,
    write_trust_file,
)
from deploy.sidecar.relay import marked_relay

# Before it is imported: what it logs of failed handshakes is in the one line that we print.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc

PATIENCE = 10.0
"""Seconds for one exchange."""
_OPTIONS = (("grpc.ssl_target_name_override", CONTROL_PLANE_NAME), ("grpc.enable_http_proxy", 0))
_REFUSALS = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT}
)


class Failure(Exception):  # noqa: N818  # it says what happened
    """No certificate; `refused` tells whether the control plane said so, or was not reached."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Errand:
    """Who asks whom: `name` is `namespace/workload`, `mtls_port` 0 until it is known, `mark` the SO_MARK that the
    redirect lets pass, 0 for none.
    """

    name: str
    join: Path
    runtime: Path
    host: str
    port: int
    mtls_port: int
    mark: int

    def run(self) -> int:
        """Get and write a certificate; returns the mTLS port. Raises Failure and JoinError."""
        material = read_join_directory(self.join)
        held = read_client_file(self.runtime)
        if held is not None and self.mtls_port:
            chain, key = held
            try:
                return self._exchange(material, self.mtls_port, held=(key, chain))
            except Failure as failure:
                renewal = failure
        else:
            renewal = None
        try:
            return self._exchange(material, self.port)
        except Failure as failure:
            if renewal is None or not (renewal.refused or failure.refused):
                raise
            raise Failure(
                f"by certificate: {renewal.reason}; by join token: {failure.reason}", refused=failure.refused
            ) from None

    def _exchange(self, material: JoinMaterial, port: int, held: tuple[bytes, bytes] | None = None) -> int:
        key = new_private_key()
        request = encode_request(signing_request(key))
        metadata = () if held is not None else (("authorization", f"Bearer {material.token}"),)
        tls = grpc.ssl_channel_credentials(material.bundle.encode(), *(held or ()))
        with self._target(port) as target, grpc.secure_channel(target, tls, options=_OPTIONS) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ENROL)
            try:
                answer = decode_answer(call(request, metadata=metadata, timeout=PATIENCE))
            except grpc.RpcError as error:
                reason = " ".join(str(error.details()).split())[:300]
                raise Failure(reason, refused=error.code() in _REFUSALS) from None
            except MessageError as error:
                raise Failure(str(error), refused=False) from None
        self._check(answer, material)
        write_trust_file(self.runtime, answer.bundle_pem.decode("ascii"))
        write_client_file(self.runtime, answer.certificate_pem, private_key_pem(key))
        return answer.xds_mtls_port

    @contextlib.contextmanager
    def _target(self, port: int) -> Iterator[str]:
        """What gRPC is to connect to."""
        if self.mark:
            with marked_relay(self.host, port, self.mark) as relay:
                yield f"127.0.0.1:{relay}"
        else:
            yield f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def _check(self, answer: EnrolmentAnswer, material: JoinMaterial) -> None:
        """What the control plane gave must be of use: nothing of it reaches Envoy otherwise."""
        domain = bundle_trust_domain(material.bundle)
        if bundle_trust_domain(answer.bundle_pem.decode("ascii")) != domain:
            raise Failure(
                f"the control plane answered with roots of a trust domain that is not {domain}", refused=False
            )
        try:
            proxy: ProxyIdentity = proxy_of(answer.certificate_pem, answer.bundle_pem)
        except SvidError as error:
            raise Failure(f"the control plane answered with a certificate of no use: {error}", refused=False) from None
        if proxy.name != self.name:
            raise Failure(f"the join directory {self.join} is that of {proxy.name}, not of {self.name}", refused=True)


@click.command()
@click.option("--name", required=True)
@click.option("--join", required=True, type=click.Path(path_type=Path))
@click.option("--runtime", required=True, type=click.Path(path_type=Path))
@click.option("--host", required=True)
@click.option("--port", required=True, type=int)
@click.option("--mtls-port", default=0, type=int)
@click.option("--mark", default=0, type=int)
def main(*, name: str, join: Path, runtime: Path, host: str, port: int, mtls_port: int, mark: int) -> None:
    """See the module."""
    try:
        outcome: dict[str, object] = {"mtls_port": Errand(name, join, runtime, host, port, mtls_port, mark).run()}
    except Failure as failure:
        outcome = {"refused" if failure.refused else "unreachable": failure.reason}
    except JoinError as error:
        outcome = {"unreachable": str(error)}
    print(json.dumps(outcome))


if __name__ == "__main__":
    sys.exit(main())
