"""Which workloads a selector selects: found by the rarest of its labels, not by looking at every workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from smi.objects import Workload


class Selection:
    """Workloads that can be sent to, by namespace and label."""

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._by_label: dict[tuple[str, str, str], list[Workload]] = {}
        for workload in sorted(workloads, key=lambda each: (each.meta.namespace, each.meta.name)):
            if workload.address:
                for name, value in workload.meta.labels.items():
                    self._by_label.setdefault((workload.meta.namespace, name, value), []).append(workload)

    def behind(self, namespace: str, selector: Mapping[str, str]) -> list[Workload]:
        """Those with every label of `selector`, as Kubernetes has it; an empty selector selects nothing."""
        candidates = [self._by_label.get((namespace, name, value), []) for name, value in selector.items()]
        if not candidates:
            return []
        rarest = min(candidates, key=len)
        return [each for each in rarest if selector.items() <= each.meta.labels.items()]
