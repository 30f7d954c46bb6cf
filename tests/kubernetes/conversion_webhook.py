"""A conversion webhook on loopback, no more than tests need: what the API server asks, `smi.conversion` answers."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.envoy.certificates import own_certificate

Convert = Callable[[dict[str, Any], str], dict[str, Any]]


@contextmanager
def running(convert: Convert, directory: Path) -> Iterator[dict[str, str]]:
    """The webhook's `clientConfig` for a CRD, while it runs. The API server must be on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(_answered(review, convert)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing: requests are no news."""

    file = own_certificate(directory).file
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(file)
    certificate = x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.PEM)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            url = f"https://localhost:{server.server_address[1]}/convert"
            yield {"url": url, "caBundle": base64.b64encode(certificate).decode()}
        finally:
            server.shutdown()
            thread.join()


def _answered(review: dict[str, Any], convert: Convert) -> dict[str, Any]:
    """The ConversionReview with the response to its request: every object in the desired version, in order."""
    request = review["request"]
    version = request["desiredAPIVersion"].partition("/")[2]
    converted = [convert(each, version) for each in request["objects"]]
    response = {"uid": request["uid"], "convertedObjects": converted, "result": {"status": "Success"}}
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
