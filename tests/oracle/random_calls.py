"""Random calls that are interesting: made from what the mesh would accept, then changed a little, or not."""

from __future__ import annotations

import dataclasses
from random import Random

from smi.index import Key, MeshObjects
from smi.objects import HTTPMatch, TrafficSplit, TrafficTarget
from tests.oracle.calls import Call, Request
from tests.oracle.matches import HEADERS, METHODS, PATHS
from tests.oracle.oracle import Oracle

_ACCEPTED = {(name.lower().replace("host", ":authority"), regex): found for (name, regex), found in HEADERS.items()}


class Calls:
    """A source of random calls in one mesh."""

    def __init__(self, random: Random, objects: MeshObjects) -> None:
        self._random = random
        self._objects = objects
        oracle = Oracle(objects)
        self._ports = [
            (s, p.port) for s, found in objects.services.items() for p in found.ports if p.transport == "TCP"
        ]
        self._serving: dict[Key, list[tuple[Key, int]]] = {}
        for service, port in self._ports:
            for server, _ in oracle.places(service, port):
                self._serving.setdefault(server, []).append((service, port))
        roots = {service for service, _ in self._ports}
        self._splits = [
            split
            for split in objects.traffic_splits.values()
            if split.matches and (split.meta.namespace, split.service) in roots
        ]
        self._sources = [key for key, workload in objects.workloads.items() if workload.sidecar]

    def draw(self) -> Call:
        """A call: most of them go where a TrafficTarget lets them, with a request that one of its matches accepts; some
        to the root of a split, with a request that the split means.
        """
        random, targets = self._random, [*self._objects.traffic_targets.values()]
        targets = [each for each in targets if each.rules and each.sources]
        target = random.choice(targets) if targets and random.random() < 0.9 else None
        source, service, port = self._ends(target)
        matches = self._matches(target)
        split = random.choice(self._splits) if self._splits and random.random() < 0.15 else None
        if split is not None:
            service = (split.meta.namespace, split.service)
            port = random.choice([number for known, number in self._ports if known == service])
            matches = self._matches_of_split(split) or matches
        matches = [match for match in matches if match.headers and random.random() < 0.5] or matches
        request = self._near(random.choice(matches)) if matches else Request()
        while random.random() < 0.3:
            request = self._changed(request)
        if random.random() < 0.1:
            request = dataclasses.replace(request, path=request.path + random.choice(("?", "?x=/api&y=..", "?a")))
        if random.random() < 0.05:
            source = None
        return Call(source, service, port, request)

    def _ends(self, target: TrafficTarget | None) -> tuple[Key | None, Key, int]:
        """Who calls what: a source and a server of `target` if there are any, else anybody and anything."""
        random = self._random
        source = random.choice(self._sources) if self._sources else None
        served = [found for ports in self._serving.values() for found in ports]
        service, port = random.choice(served) if served and random.random() < 0.9 else random.choice(self._ports)
        if target is not None:
            accounts = {(each.namespace, each.name) for each in target.sources}
            meant = [each for each in self._sources if (each[0], self._account(each)) in accounts]
            source = random.choice(meant) if meant and random.random() < 0.9 else source
            destination = (target.destination.namespace, target.destination.name)
            served = [
                found
                for server, ports in self._serving.items()
                if (server[0], self._account(server)) == destination
                for found in ports
            ]
            if served:
                service, port = random.choice(served)
        return source, service, port

    def _account(self, workload: Key) -> str:
        return self._objects.workloads[workload].service_account

    def _matches(self, target: TrafficTarget | None) -> list[HTTPMatch]:
        """The matches that `target` allows, or now and then those of any group: splits have matches too."""
        groups = self._objects.http_route_groups
        if target is None or self._random.random() < 0.15:
            return [match for group in groups.values() for match in group.matches]
        return [
            match
            for rule in target.rules
            if (group := groups.get((target.meta.namespace, rule.name))) is not None
            for match in group.matches
            if rule.matches is None or match.name in rule.matches
        ]

    def _matches_of_split(self, split: TrafficSplit) -> list[HTTPMatch]:
        groups = (self._objects.http_route_groups.get((split.meta.namespace, each.name)) for each in split.matches)
        return [match for group in groups if group is not None for match in group.matches]

    def _near(self, match: HTTPMatch) -> Request:
        """A request that `match` accepts, or nearly: each of its parts may be one that it should not accept."""
        random = self._random
        nearly = random.choice((0, 0.5))
        accepted, refused = PATHS[match.path_regex]
        paths = refused if random.random() < nearly or not accepted else accepted
        methods = METHODS if random.random() < nearly / 2 else match.methods or METHODS
        request = Request(random.choice(paths or ("/",)), random.choice(methods))
        for name, regex in match.headers:
            accepted, refused = _ACCEPTED[name, regex]
            if random.random() < nearly / 4:
                continue
            value = random.choice((refused if random.random() < nearly / 2 else accepted) or accepted)
            if name == ":authority":
                request = dataclasses.replace(request, host=value)
            else:
                lines = [value]
                if random.random() < 0.2:
                    lines.insert(random.choice((0, 1)), random.choice((*accepted, *refused, "something else")))
                request = _with_headers(request, *((name, line) for line in lines))
        return request

    def _changed(self, request: Request) -> Request:
        """One step away from `request`."""
        random = self._random
        changes = (
            self._other_path,
            self._other_spelling,
            self._other_spelling,
            self._other_headers,
            self._other_headers,
        )
        change = random.choice(changes)
        return change(request)

    def _other_path(self, request: Request) -> Request:
        accepted, refused = self._random.choice([*PATHS.values()])
        return dataclasses.replace(request, path=self._random.choice((*accepted, *refused, "/")))

    def _other_spelling(self, request: Request) -> Request:
        random = self._random
        path, query, rest = request.path.partition("?")
        at = random.choice([place for place, letter in enumerate(path) if letter == "/"]) if "/" in path else 0
        head, tail = path[:at], path[at:]
        spelled = random.choice(
            (
                f"{head}/.{tail}",
                f"{head}/x/..{tail}",
                f"{head}/%2e%2e{tail}",
                f"{head}/..{tail}",
                f"{head}/{tail}",
                f"{head}%2F{tail[1:]}",
                f"{head}/..%2f{tail[1:]}",
                f"{head}%5C{tail[1:]}",
                f"{head}\\..{tail}",
                f"{head}/..;{tail}",
                f"{head}/%2e%2e;{tail}",
                f"{head}/.;x=1{tail}",
                f"{path};v=1",
                f"{head}/%252e%252e{tail}",
                f"{head}%252F{tail[1:]}",
                f"{path}/..",
                f"{path}/.",
                f"{path}/",
                path[:-1] + f"%{ord(path[-1]):02x}",
                path.swapcase(),
                path[:-1] or "/",
                f"{path}x",
            )
        )
        spelled = spelled if spelled.startswith("/") else f"/{spelled}"
        return dataclasses.replace(request, path=spelled + query + rest)

    def _other_headers(self, request: Request) -> Request:
        random = self._random
        (name, _), (accepted, refused) = random.choice([*_ACCEPTED.items()])
        value = random.choice((*accepted, *refused))
        if name == ":authority":
            return dataclasses.replace(request, host=random.choice((*accepted, *refused)))
        kept = [*request.headers]
        what = random.choice(("drop", "change", "repeat", "repeat", "spell", "add", "shout"))
        if not kept or what == "add":
            return _with_headers(request, (name, value))
        at = random.randrange(len(kept))
        known, had = kept[at]
        if what == "drop":
            del kept[at]
        elif what == "change":
            others = [v for (n, _), found in _ACCEPTED.items() if n == known for part in found for v in part]
            kept[at] = (known, random.choice(others) if others else value)
        elif what == "repeat":
            kept.insert(random.randrange(len(kept) + 1), (known, random.choice((had, value, "something else"))))
        elif what == "spell":
            kept.append((known.replace("-", random.choice("_.")) if "-" in known else known.replace("_", "-"), had))
        else:
            kept[at] = (known.title(), had)
        return dataclasses.replace(request, headers=tuple(kept))


def _with_headers(request: Request, *headers: tuple[str, str]) -> Request:
    return dataclasses.replace(request, headers=(*request.headers, *headers))
