"""What to try while the demo is kept running: commands to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from deploy.demo.bookstore_mesh import BUYER, THIEF, V1, BookstoreMesh
from deploy.demo.private_namespaces import way_in

_OUTSIDE = "bridge"


def invitation(store: BookstoreMesh, *, transparent: bool) -> Iterator[str]:
    """Lines for a person."""
    prefixes = _entrances(store) if transparent else {BUYER: "", THIEF: "", _OUTSIDE: ""}
    debug = f"http://{store.mesh.debug_address}/debug"
    address, port = store.places[V1].sidecar or ("", 0)
    metrics = f"http://127.0.0.1:{store.mesh.sidecars[BUYER].metrics_port}/metrics"
    buyer, thief = store.places[BUYER].upstream, store.places[THIEF].upstream
    yield ""
    yield "The bookstore stays open until Ctrl-C. To try:"
    for where, url, meaning in (
        (BUYER, f"{buyer}/books", "bookbuyer, through its sidecar"),
        (BUYER, f"{buyer}/till", "a path that no HTTPRouteGroup allows"),
        (THIEF, f"{thief}/books", "bookthief"),
        (_OUTSIDE, f"http://{address}:{port}/books", "plaintext, straight to the sidecar of bookstore-v1"),
        (_OUTSIDE, f"{store.page(BUYER)}/", "how the calls go that bookbuyer makes by itself"),
        (BUYER, metrics, "metrics of bookbuyer's sidecar"),
        (_OUTSIDE, f"{debug}/mesh", "the mesh as the control plane understands it"),
        (_OUTSIDE, f"{debug}/proxies", "every sidecar and how far it is"),
    ):
        yield f"  # {meaning}"
        yield f"  {prefixes[where]}curl -sS {url}"
    yield f"Edit {store.mesh.directory}/split.yaml or access.yaml meanwhile, and call again."


def _entrances(store: BookstoreMesh) -> dict[str, str]:
    """For each place in the private network what to put before a command; for workloads, a script that does it."""
    outside = way_in()
    found = {_OUTSIDE: f"{shlex.join(outside)} "}
    for workload in (BUYER, THIEF):
        script = store.mesh.work_dir / "enter" / workload.partition("/")[0]
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec {shlex.join([*outside, *store.mesh.inside(workload)])} "$@"\n')
        script.chmod(0o700)
        found[workload] = f"{script} "
    return found
