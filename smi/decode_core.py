"""Decodes the Kubernetes kinds of the group "core": Namespace, ServiceAccount and Service (v1)."""

from __future__ import annotations

import enum

from smi import codes
from smi.addresses import usable_address
from smi.fields import Fields, is_port
from smi.names import is_label, is_subdomain
from smi.objects import Meta, Namespace, Service, ServiceAccount, ServicePort
from smi.report import described, dotted

_WITHOUT_MEANING_HERE = (
    "allocateLoadBalancerNodePorts",
    "externalIPs",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "publishNotReadyAddresses",
    "sessionAffinity",
    "sessionAffinityConfig",
    "trafficDistribution",
)
_HEADLESS = "None"


class _ServiceType(enum.StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class _Transport(enum.StrEnum):
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


def decode_namespace(root: Fields, meta: Meta) -> Namespace:
    root.ignore("spec")
    root.close()
    return Namespace(meta=meta)


def decode_service_account(root: Fields, meta: Meta) -> ServiceAccount:
    root.ignore("secrets", "imagePullSecrets", "automountServiceAccountToken")
    root.close()
    return ServiceAccount(meta=meta)


def decode_service(root: Fields, meta: Meta) -> Service | None:
    """The Service in `root` with every port and address that has no error.

    None when its type or selector is wrong: a selector with an entry left out would select more.
    """
    spec = root.child("spec", required=True)
    root.close()
    if spec is None:
        return None
    report = root.report
    before = report.left_out
    kind = spec.choice("type", _ServiceType, _ServiceType.CLUSTER_IP, when_wrong=_ServiceType.CLUSTER_IP)
    selector = spec.text_map("selector")
    usable = report.left_out == before
    external_name = _external_name(spec) if kind is _ServiceType.EXTERNAL_NAME else ""
    spec.ignore("externalName", *_WITHOUT_MEANING_HERE)
    headless = _HEADLESS in (spec.raw("clusterIP"), *_raw_addresses(spec))
    addresses = () if headless or external_name else _addresses(spec)
    ports = _ports(spec)
    if not spec.raw("ports") and kind is not _ServiceType.EXTERNAL_NAME and not headless:
        spec.missing("ports")
    spec.close()
    if not usable or (kind is _ServiceType.EXTERNAL_NAME and not external_name):
        return None
    return Service(
        meta=meta,
        ports=ports,
        selector=selector,
        cluster_ips=addresses,
        headless=headless,
        external_name=external_name,
    )


def _external_name(spec: Fields) -> str:
    name = spec.text("externalName", required=True)
    if name and not is_subdomain(name.lower().removesuffix(".")):
        spec.wrong(codes.BAD_NAME, "externalName", "a host name")
        return ""
    return name


def _raw_addresses(spec: Fields) -> list[object]:
    return [value for _, value in spec.items("clusterIPs")]


def _addresses(spec: Fields) -> tuple[str, ...]:
    """`clusterIP` and `clusterIPs`, each address once; empty texts mean that none was given yet."""
    entries = [(spec.at("clusterIP"), spec.raw("clusterIP"))]
    if isinstance(spec.raw("clusterIPs"), list):
        entries += spec.items("clusterIPs")
    addresses: dict[str, None] = {}
    for path, value in entries:
        if value in (None, ""):
            continue
        address = usable_address(value) if isinstance(value, str) else None
        if address:
            addresses[address] = None
        else:
            message = f"{dotted(path)} must be an IP address or 'None', found {described(value)}"
            spec.report.add(codes.BAD_ADDRESS, path, message)
    return tuple(addresses)


def _ports(spec: Fields) -> tuple[ServicePort, ...]:
    ports: list[ServicePort] = []
    numbers: set[tuple[int, str]] = set()
    names: set[str] = set()
    for entry in spec.children("ports"):
        port = _port(entry)
        if port is None:
            continue
        if (port.port, port.transport) in numbers:
            message = f"{dotted(entry.at('port'))}: port {port.port}/{port.transport} is given twice"
            spec.report.add(codes.DUPLICATE_ENTRY, entry.at("port"), message)
        elif port.name and port.name in names:
            message = f"{dotted(entry.at('name'))}: the name {port.name!r} is given twice"
            spec.report.add(codes.DUPLICATE_ENTRY, entry.at("name"), message)
        else:
            ports.append(port)
            numbers.add((port.port, port.transport))
            names.add(port.name)
    return tuple(ports)


def _port(entry: Fields) -> ServicePort | None:
    before = entry.report.left_out
    name = entry.label("name")
    number = entry.port("port", required=True)
    transport = entry.choice("protocol", _Transport, _Transport.TCP, when_wrong=_Transport.TCP)
    app_protocol = entry.text("appProtocol")
    target = entry.raw("targetPort")
    entry.ignore("nodePort")
    entry.close()
    is_name = isinstance(target, str) and is_label(target) and not target.isdecimal()
    if target is not None and not is_name and not is_port(target):
        hint = "Write the number without quotes." if isinstance(target, str) and target.isdecimal() else ""
        entry.wrong(codes.BAD_PORT, "targetPort", "a whole number from 1 to 65535 or the name of a port", hint)
    if number is None or entry.report.left_out > before:
        return None
    target_port = target if isinstance(target, (int, str)) else number
    return ServicePort(name, number, target_port, transport.value, app_protocol)
