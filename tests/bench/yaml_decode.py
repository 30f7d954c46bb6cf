"""`yaml_decode`: from files as people write them to decoded objects with their places, all that `FileSource.load` does.

The floor is PyYAML's own C loader on the same text. It reads no files, keeps nothing, and makes no objects.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from smi.files import FileSource
from smi.index import Upsert
from smi.objects import HTTPRouteGroup, MeshObject, Service, TrafficTarget, Workload
from tests.bench import meshes
from tests.bench.records import Must, Record, say

SIZES = (1_000, 10_000)
_ROUNDS = 3
_PER_FILE = 1_200
"""Documents in one file: a hundred services with all that belongs to them."""


def measure(*, quick: bool = False) -> Iterator[Record]:
    """CPU seconds at several sizes. Rounds are interleaved with the floor's; the largest size has one."""
    for size in (100,) if quick else SIZES:
        say(f"yaml_decode: {size} services")
        rounds = 1 if size > SIZES[0] else _ROUNDS
        with tempfile.TemporaryDirectory() as place:
            texts = write_files(meshes.mesh(size), Path(place))
            measured = [(_load_alone(texts), _decode(Path(place), size)) for _ in range(rounds)]
        floor, value = (statistics.median(column) for column in zip(*measured, strict=True))
        params = {"services": size, "workloads": size * meshes.ENDPOINTS, "MB": sum(map(len, texts)) // 10**6}
        yield Record("yaml_decode", value, "s", floor, params, Must(ratio=1.5))


def write_files(objects: Iterable[MeshObject], place: Path) -> list[str]:
    """Files of many documents each; gives their texts."""
    documents = [manifest(each) for each in objects]
    texts = ["---\n".join(documents[at : at + _PER_FILE]) for at in range(0, len(documents), _PER_FILE)]
    for number, text in enumerate(texts):
        (place / f"services-{number:03}.yaml").write_text(text)
    return texts


def manifest(each: MeshObject) -> str:
    """An object of `meshes` in block style."""
    match each:
        case Service():
            return _service(each)
        case Workload():
            return _workload(each)
        case TrafficTarget():
            return _target(each)
        case HTTPRouteGroup():
            return _group(each)
    raise TypeError(type(each).__name__)


def _head(each: MeshObject, version: str) -> str:
    labels = "".join(f"    {name}: {value}\n" for name, value in each.meta.labels.items())
    return (
        f"apiVersion: {version}\nkind: {each.ref.kind}\nmetadata:\n"
        f"  name: {each.meta.name}\n  namespace: {each.meta.namespace}\n"
    ) + (f"  labels:\n{labels}" if labels else "")


def _service(each: Service) -> str:
    (port,) = each.ports
    selector = "".join(f"    {name}: {value}\n" for name, value in each.selector.items())
    return (
        f"{_head(each, 'v1')}spec:\n  clusterIP: {each.cluster_ips[0]}\n  selector:\n{selector}  ports:\n"
        f"  - name: {port.name}\n    port: {port.port}\n    targetPort: {port.target_port}\n"
    )


def _workload(each: Workload) -> str:
    ports = "".join(f"  - name: {port.name}\n    port: {port.port}\n" for port in each.ports)
    return (
        f"{_head(each, 'tulle.dev/v1alpha1')}spec:\n"
        f"  serviceAccountName: {each.service_account}\n  address: {each.address}\n"
    ) + (f"  ports:\n{ports}" if ports else "")


def _target(each: TrafficTarget) -> str:
    rules = "".join(f"  - kind: {rule.kind}\n    name: {rule.name}\n" for rule in each.rules)
    sources = "".join(
        f"  - kind: {source.kind}\n    name: {source.name}\n    namespace: {source.namespace}\n"
        for source in each.sources
    )
    return (
        f"{_head(each, 'access.smi-spec.io/v1alpha3')}spec:\n  destination:\n    kind: {each.destination.kind}\n"
        f"    name: {each.destination.name}\n    namespace: {each.destination.namespace}\n"
        f"  rules:\n{rules}  sources:\n{sources}"
    )


def _group(each: HTTPRouteGroup) -> str:
    matches = "".join(
        f"  - name: {match.name}\n    pathRegex: {match.path_regex}\n    methods:\n"
        + "".join(f"    - {method}\n" for method in match.methods)
        for match in each.matches
    )
    return f"{_head(each, 'specs.smi-spec.io/v1alpha4')}spec:\n  matches:\n{matches}"


def _load_alone(texts: Iterable[str]) -> float:
    begin = time.process_time()
    for text in texts:
        for _ in yaml.load_all(text, Loader=yaml.CSafeLoader):
            pass
    return time.process_time() - begin


def _decode(place: Path, size: int) -> float:
    begin = time.process_time()
    change = FileSource(place).load()
    took = time.process_time() - begin
    read = [_without_place(event.object) for event in change.events if isinstance(event, Upsert)]
    if change.diagnostics or read != list(meshes.mesh(size)):
        raise RuntimeError("the files do not hold the objects that were written")
    return took


def _without_place(each: MeshObject) -> MeshObject:
    if each.meta.location is None:
        raise RuntimeError(f"{each.ref} does not know where it was written")
    return dataclasses.replace(each, meta=dataclasses.replace(each.meta, location=None))
