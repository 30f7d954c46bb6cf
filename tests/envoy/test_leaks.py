"""Nothing secret is to be found where people and programs look: a control plane and a sidecar at their most talkative,
and every page, dump, metric, log, command line and environment of theirs, searched for every key and token.

Keys that are known are searched for as they are; those that live in memory alone by how every P-256 key begins, in
PEM, DER, and the ways in which DER is written as text.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ca.identity import CONTROL_PLANE_NAME
from deploy.demo.processes import Processes
from deploy.demo.waiting import eventually
from protos.envoy.service.status.v3_pb2 import ClientStatusRequest, ClientStatusResponse
from tests.server.siege import HONEST, OBJECTS, SERVICE, free_ports

pytestmark = [pytest.mark.envoy]
TULLE = [sys.executable, "-m", "tests.server.besieged"]
DEBUG_TOKEN = "open-sesame-4711"
KEY_HEAD = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420")
"""How a P-256 key begins in PKCS #8; what follows is the secret."""


def written(data: bytes) -> Iterator[bytes]:
    """Ways to write bytes down."""
    yield data
    yield data.hex().encode()
    yield data.hex().upper().encode()
    yield data.hex(":").encode()
    # Which quotes are escaped depends on what stands around it.
    escaped = repr(b"'\"" + data)[5:-1]
    yield escaped.encode()
    yield escaped.replace("\\'", "'").encode()
    yield "".join(f"\\{byte:03o}" if not 32 <= byte < 127 else chr(byte) for byte in data).encode()
    # Base64 at each of three places in a group, without the characters at the ends that its neighbours have part in.
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data)
        yield text[4 if before else 0 : (before + len(data)) // 3 * 4]


def needles(state: Path) -> dict[str, list[bytes]]:
    """What must not be found, by what it is."""
    found = {"any P-256 key": list(written(KEY_HEAD)), "a PEM key": [b"PRIVATE KEY-----"]}
    found["the debug token"] = [DEBUG_TOKEN.encode()]
    for path in state.rglob("*"):
        if path.name in {"token", "stream-token"}:
            # Its signature is what makes a token one; the rest are names.
            found[str(path)] = [path.read_bytes().strip().rpartition(b".")[2]]
        elif path.name == "join-token.key":
            found[str(path)] = list(written(bytes.fromhex(path.read_text())))
        elif path.is_file() and b"PRIVATE KEY" in (pem := path.read_bytes()):
            block = re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", pem, re.DOTALL)
            assert block is not None
            key = serialization.load_pem_private_key(pem[block.start() :], None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            scalar = key.private_numbers().private_value.to_bytes(32)
            found[str(path)] = [*block[1].splitlines(), *written(scalar)]
    return found


def leaks(text: bytes, wanted: dict[str, list[bytes]]) -> list[str]:
    return [name for name, forms in wanted.items() if any(form in text for form in forms)]


def test_the_search_finds_keys_in_every_dress() -> None:
    for _ in range(20):
        key = ec.generate_private_key(ec.SECP256R1())
        pem, der = (
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        )
        wanted = {"any P-256 key": list(written(KEY_HEAD))}
        for text in (pem, pem.replace(b"\n", b"\\n"), der, der.hex().encode(), base64.b64encode(b"abcd" + der)):
            assert leaks(b"log: " + text + b" end", wanted), text
        scalar = {"known": list(written(key.private_numbers().private_value.to_bytes(32)))}
        for text in (pem.replace(b"\n", b""), der, repr(der).encode(), base64.b64encode(der), der.hex(":").encode()):
            assert leaks(text, scalar), text
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert not leaks(public, wanted)


async def test_nothing_secret_is_to_be_seen(tmp_path: Path) -> None:
    mesh, state, ports_file, token_file = (tmp_path / name for name in ("mesh", "state", "ports.json", "debug-token"))
    mesh.mkdir()
    (mesh / "objects.yaml").write_text(OBJECTS.replace("  capture: transparent\n", "").replace("10.0.0.", "127.0.0."))
    (mesh / "service.yaml").write_text(SERVICE.replace("PORT", "80"))
    token_file.write_text(DEBUG_TOKEN)
    token_file.chmod(0o600)
    xds, mtls, debug = (f"127.0.0.1:{port}" for port in free_ports(3))
    processes = Processes(tmp_path)
    headers = {"Authorization": f"Bearer {DEBUG_TOKEN}"}
    try:
        serve = [
            *TULLE,
            "serve",
            mesh,
            "--state",
            state,
            "--xds-address",
            xds,
            "--xds-mtls-address",
            mtls,
            "--debug-address",
            debug,
        ]
        plane = await processes.start(
            "control-plane", [*serve, "--debug-token-file", token_file, "--log-level", "debug"]
        )
        join = state / "join" / HONEST

        async def invited() -> bool:
            return (join / "token").exists()

        await eventually(invited, "the join directory", within=60)
        run = [*TULLE, "sidecar", HONEST, "--join", join, "--xds-address", xds, "--ports-file", ports_file]
        sidecar = await processes.start("sidecar", [*run, "--log-level", "trace"], stop_with=signal.SIGINT)
        seen: dict[str, bytes] = {}
        pids = {"control plane": plane.process.pid, "sidecar": sidecar.process.pid}

        async def ready() -> bool:
            # Looked at all the while: the process that gets the certificate does not live long.
            seen.update(of_processes(pids))
            return ports_file.exists()

        await eventually(ready, "the sidecar to be ready", within=60)
        assert [name for name in seen if "child" in name]
        ports = json.loads(ports_file.read_text())
        async with aiohttp.ClientSession() as http:
            for path in ("/", "/metrics", "/debug/mesh", "/debug/proxies", "/debug/rejections", "/readyz", "/nowhere"):
                seen[path] = await page(http, f"http://{debug}{path}", headers)
            proxy = f"/debug/proxies/{HONEST}?config=1"
            seen[proxy] = await page(http, f"http://{debug}{proxy}", headers)
            assert b'"identity"' in seen[proxy]
            for path in ("/config_dump?include_eds", "/certs", "/server_info", "/clusters", "/stats", "/init_dump"):
                seen[f"Envoy {path}"] = await page(http, f"http://127.0.0.1:{ports['admin']}{path}", {})
        seen["CSDS"] = await client_status(xds, join)
        seen |= of_processes(pids)
        assert limits(plane.process.pid) == ("0", "0")
        wanted = needles(state)
        assert len(wanted) >= 8
        await processes.stop(sidecar)
        assert await processes.stop(plane) == 0
        seen |= {log.name: log.read_bytes() for log in (tmp_path / "logs").iterdir()}
        assert len(seen["sidecar.log"]) > 10_000, "it was to be talkative"
        assert b"DEBUG" in seen["control-plane.log"]
        found = {where: which for where, text in seen.items() if (which := leaks(text, wanted))}
        assert not found
    finally:
        await processes.close()


async def page(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> bytes:
    async with http.get(url, headers=headers) as answer:
        return await answer.read()


async def client_status(xds: str, join: Path) -> bytes:
    """The whole answer, serialised and as text."""
    trusting = grpc.ssl_channel_credentials((join / "bundle.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", CONTROL_PLANE_NAME)]
    async with grpc.aio.secure_channel(xds, trusting, options=options) as channel:
        call = channel.unary_unary(
            "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus",
            request_serializer=ClientStatusRequest.SerializeToString,
        )
        data = await call(ClientStatusRequest(), metadata=(("authorization", f"Bearer {DEBUG_TOKEN}"),))
    answer = ClientStatusResponse.FromString(data)
    assert answer.config[0].node.id == HONEST
    return bytes(data) + str(answer).encode()


def of_processes(roots: dict[str, int]) -> dict[str, bytes]:
    """Command lines and environments of these processes and their children."""
    found = {}
    for name, pid in {**roots, **children(roots)}.items():
        for part in ("cmdline", "environ"):
            with suppress(OSError):  # it has ended meanwhile
                found[f"{part} of {name}"] = Path(f"/proc/{pid}/{part}").read_bytes()
    return found


def children(roots: dict[str, int]) -> dict[str, int]:
    found = {}
    for name, pid in roots.items():
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found[f"child {child} of {name}"] = int(child)
    return found


def limits(pid: int) -> tuple[str, str]:
    """The limits of core dumps, and that the process is not dumpable: its /proc belongs to root even if it does not."""
    line = re.search(r"Max core file size\s+(\S+)\s+(\S+)", Path(f"/proc/{pid}/limits").read_text())
    assert line is not None
    return line[1], line[2]
