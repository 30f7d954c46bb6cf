"""Annotations and MeshConfig -> the settings in force for a namespace or a workload.

The workload's annotation comes before its namespace's, and that before MeshConfig.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar

from smi.objects import MeshObject, MtlsMode, TrafficPolicy, Workload
from smi.resolve import codes
from smi.resolve.declared import Declared
from smi.resolve.findings import Findings

POLICY_ANNOTATION = "tulle.dev/traffic-policy"
MTLS_ANNOTATION = "tulle.dev/mtls"
REACHES_ANNOTATION = "tulle.dev/reaches"

E = TypeVar("E", bound=enum.StrEnum)


def traffic_policy(declared: Declared, workload: Workload, findings: Findings) -> TrafficPolicy:
    """The policy of what `workload` serves."""
    return _effective(declared, workload, POLICY_ANNOTATION, declared.config.traffic_policy, findings)


def mtls_mode(declared: Declared, workload: Workload, findings: Findings) -> MtlsMode:
    """Whether `workload` accepts plaintext."""
    return _effective(declared, workload, MTLS_ANNOTATION, declared.config.mtls, findings)


def declared_reach(declared: Declared, workload: Workload) -> tuple[str, MeshObject | None]:
    """The `tulle.dev/reaches` annotation in force and the object that has it; empty and None without one."""
    if REACHES_ANNOTATION in workload.meta.annotations:
        return workload.meta.annotations[REACHES_ANNOTATION], workload
    namespace = declared.namespaces.get(workload.meta.namespace)
    if namespace is not None and REACHES_ANNOTATION in namespace.meta.annotations:
        return namespace.meta.annotations[REACHES_ANNOTATION], namespace
    return "", None


def overrides(annotations: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The workload's own settings: a part of what makes its class."""
    return tuple((name, annotations[name]) for name in (POLICY_ANNOTATION, MTLS_ANNOTATION) if name in annotations)


def _sources(declared: Declared, workload: Workload) -> tuple[MeshObject, ...]:
    namespace = declared.namespaces.get(workload.meta.namespace)
    return (workload, namespace) if namespace else (workload,)


def _effective(declared: Declared, workload: Workload, annotation: str, default: E, findings: Findings) -> E:
    for source in _sources(declared, workload):
        value = source.meta.annotations.get(annotation)
        if value is None:
            continue
        try:
            return type(default)(value)
        except ValueError:
            allowed = " or ".join(member.value for member in type(default))
            findings.add(codes.ANNOTATION_INVALID, f"{annotation} is {value!r}; it must be {allowed}", source)
            # What cannot be understood must not widen anything: fall back to the strictest value, the first one.
            return next(iter(type(default)))
    return default
