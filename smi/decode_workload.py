"""Decodes Workload (tulle.dev/v1alpha1): a process with an address that Kubernetes does not describe."""

from __future__ import annotations

from smi import codes
from smi.addresses import usable_address
from smi.fields import Fields
from smi.names import is_label
from smi.objects import CaptureMode, Meta, Upstream, Workload, WorkloadPort
from smi.report import dotted

_APPLICATION_ADDRESS = "127.0.0.1"
"""Where the application listens, and where it finds its upstreams."""


def decode_workload(root: Fields, meta: Meta) -> Workload | None:
    """The workload in `root` with every port and upstream that has no error; None without address or account."""
    spec = root.child("spec", required=True)
    root.close()
    if spec is None:
        return None
    before = root.report.left_out
    account = spec.subdomain("serviceAccountName") or "default"
    address = _address(spec)
    sidecar = spec.flag("sidecar", default=True)
    mode_given = spec.raw("capture") is not None
    mode = spec.choice("capture", CaptureMode, CaptureMode.EXPLICIT, when_wrong=CaptureMode.EXPLICIT)
    usable = root.report.left_out == before
    ports = _ports(spec, address)
    upstreams = _upstreams(spec, meta, _application_ports(address, ports))
    spec.close()
    if not usable:
        return None
    if not mode_given:
        explicit = bool(upstreams) or any(port.app_port for port in ports)
        mode = CaptureMode.EXPLICIT if explicit else CaptureMode.TRANSPARENT
    return Workload(
        meta=meta,
        service_account=account,
        address=address,
        ports=ports,
        upstreams=upstreams,
        sidecar=sidecar,
        capture=mode,
    )


def _address(spec: Fields) -> str:
    text = spec.text("address", required=True)
    address = usable_address(text)
    if text and address is None:
        spec.wrong(codes.BAD_ADDRESS, "address", "the IP address of one host")
    return address or ""


def _ports(spec: Fields, address: str) -> tuple[WorkloadPort, ...]:
    ports: list[WorkloadPort] = []
    numbers: set[int] = set()
    names: set[str] = set()
    for entry in spec.children("ports"):
        before = entry.report.left_out
        name = entry.label("name")
        number = entry.port("port", required=True)
        app_port = entry.port("appPort")
        entry.close()
        if app_port and app_port == number and address == _APPLICATION_ADDRESS:
            message = f"{dotted(entry.at('appPort'))}: on {address}, appPort and port must be different"
            entry.report.add(codes.BAD_VALUE, entry.at("appPort"), message)
        if number in numbers or name in names:
            key = "port" if number in numbers else "name"
            message = f"{dotted(entry.at(key))}: the {key} {entry.raw(key)} is given twice"
            entry.report.add(codes.DUPLICATE_ENTRY, entry.at(key), message)
        if number is not None and entry.report.left_out == before:
            ports.append(WorkloadPort(name, number, app_port))
            numbers.add(number)
            if name:
                names.add(name)
    return tuple(ports)


def _application_ports(address: str, ports: tuple[WorkloadPort, ...]) -> frozenset[int]:
    """The ports of 127.0.0.1 that are taken already: by the application, and by the sidecar if it listens there."""
    taken = {port.app_port for port in ports if port.app_port}
    if address == _APPLICATION_ADDRESS:
        taken |= {port.port for port in ports}
    return frozenset(taken)


def _upstreams(spec: Fields, meta: Meta, taken: frozenset[int]) -> tuple[Upstream, ...]:
    upstreams: dict[int, Upstream] = {}
    for entry in spec.children("upstreams"):
        before = entry.report.left_out
        namespace, service = _service(entry, meta.namespace)
        port = entry.port("port", required=True)
        local_port = entry.port("localPort", required=True)
        entry.close()
        if local_port in upstreams or local_port in taken:
            message = f"{dotted(entry.at('localPort'))}: port {local_port} of {_APPLICATION_ADDRESS} is taken"
            entry.report.add(codes.DUPLICATE_ENTRY, entry.at("localPort"), message)
        if port is not None and local_port is not None and entry.report.left_out == before:
            upstreams[local_port] = Upstream(namespace, service, port, local_port)
    return tuple(upstreams.values())


def _service(entry: Fields, own_namespace: str) -> tuple[str, str]:
    """Namespace and name from `name`, `name.namespace` or `namespace/name`."""
    text = entry.text("service", required=True)
    if "/" in text:
        namespace, _, name = text.partition("/")
    else:
        name, dot, namespace = text.partition(".")
        namespace = namespace if dot else own_namespace
    if text and not (is_label(name) and is_label(namespace)):
        entry.wrong(codes.BAD_NAME, "service", "the name of a Service, or name.namespace")
    return namespace, name
