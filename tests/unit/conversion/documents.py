"""Hypothesis strategies: objects of every kind as people and programs write them, at every version, and worse."""

from __future__ import annotations

from hypothesis import strategies as st

from smi.conversion import VERSIONS

_texts = st.text("ab1-:\n\u00e9\U0001f600", max_size=5)  # all of Unicode would take a second to set up
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
JUNK = st.sampled_from([5, "text", True, [], {}, [5], ["x", {}], {"x": 1}, [None]])
PAIRS = [(group, kind, version) for (group, kind), versions in VERSIONS.items() for version in versions]

_names = st.sampled_from(["a", "b", "web", "api-v1"])
_wholes = st.integers(0, 200)
_quantities = (
    st.integers(0, 2**34).map(str)
    | st.integers(0, 2**34)
    | st.tuples(st.integers(0, 2000), st.sampled_from(["m", "u", "n", "k", "Mi", "e3", ".5", "E-1"])).map(
        lambda parts: f"{parts[0]}{parts[1]}"
    )
)
_unknown = st.dictionaries(st.sampled_from(["later", "extra", "", "rulez"]), JSON, max_size=2)
_headers = st.dictionaries(st.sampled_from(["x", "user-agent", "host"]), st.sampled_from([".*", "a|b"]), max_size=2)
_any_headers = _headers | st.lists(_headers, max_size=2)


def _some(fields, optional):
    return st.fixed_dictionaries(fields, optional=optional)


def _or_junk(values, *, junk):
    return st.one_of(values, values, values, JUNK) if junk else values


def _match(*, with_headers, junk):
    optional = {
        "pathRegex": _or_junk(st.sampled_from(["/", "/api"]), junk=junk),
        "methods": _or_junk(st.lists(st.sampled_from(["GET", "*", "PUT"]), max_size=2), junk=junk),
    }
    if with_headers:
        optional["headers"] = _or_junk(_any_headers, junk=junk)
    match = _some({"name": _or_junk(_names, junk=junk)}, optional)
    return st.one_of(match, match, JUNK) if junk else match


def _group(version, *, junk):
    with_headers = version != "v1alpha1"
    matches = _or_junk(st.lists(_match(with_headers=with_headers, junk=junk), max_size=4), junk=junk)
    if version in ("v1alpha1", "v1alpha2"):
        return _some({}, {"matches": matches})
    unknown = _unknown if junk else st.just({})
    spec = st.builds(lambda fields, more: more | fields, _some({}, {"matches": matches}), unknown)
    return _some({"spec": spec}, {})


def _split(version, *, junk):
    weights = _quantities if version == "v1alpha1" else _wholes
    backend = _some({"service": _names, "weight": weights}, {})
    unknown = _unknown if junk else st.just({})
    if junk:
        backend = backend | _some({}, {"service": _names, "weight": st.none() | st.just("abc")}) | JUNK
    optional = {}
    if version in ("v1alpha3", "v1alpha4"):
        reference = _some(
            {"kind": st.just("HTTPRouteGroup"), "name": _names}, {"apiGroup": st.just("specs.smi-spec.io")}
        )
        optional["matches"] = _or_junk(st.lists(reference, max_size=2), junk=junk)
    fields = _some({"service": _names, "backends": _or_junk(st.lists(backend, max_size=3), junk=junk)}, optional)
    return st.fixed_dictionaries({"spec": st.builds(lambda fields, more: more | fields, fields, unknown)})


def _target(version, *, junk):
    subject = _some({"kind": st.just("ServiceAccount"), "name": _names}, {"namespace": st.just("shop")})
    limited = _some({"kind": st.just("ServiceAccount"), "name": _names}, {"port": st.integers(1, 65535)})
    kinds = ["HTTPRouteGroup", "TCPRoute"] + ["UDPRoute"] * (version == "v1alpha3")
    rule = _some({"kind": st.sampled_from(kinds), "name": _names}, {"matches": st.lists(_names, max_size=2)})
    rules = _or_junk(st.lists(rule, max_size=4), junk=junk)
    optional = {
        "destination": _or_junk(subject if version == "v1alpha3" else subject | limited, junk=junk),
        "sources": _or_junk(st.lists(subject, max_size=2), junk=junk),
        ("specs" if version == "v1alpha1" else "rules"): rules,
    }
    if version == "v1alpha1":
        return _some({}, optional)
    unknown = _unknown if junk else st.just({})
    return st.fixed_dictionaries({"spec": st.builds(lambda fields, more: more | fields, _some({}, optional), unknown)})


def _tcp(version, *, junk):
    if version in ("v1alpha1", "v1alpha2"):
        return st.just({})
    if version == "v1alpha3":
        return st.just({"spec": {}})
    ports = _or_junk(st.lists(st.integers(1, 65535), max_size=3), junk=junk)
    matches = _or_junk(_some({}, {"ports": ports, "name": _names}), junk=junk)
    return st.fixed_dictionaries({"spec": _some({}, {"matches": matches})})


_BODIES = {
    "TrafficTarget": _target,
    "HTTPRouteGroup": _group,
    "TCPRoute": _tcp,
    "TrafficSplit": _split,
    "UDPRoute": _tcp,
}


def written(group: str, kind: str, version: str, *, junk: bool = False):
    """Objects as they are written at a version, without the annotation; with `junk`, some fields hold anything."""
    metadata = st.fixed_dictionaries(
        {"name": st.just("x"), "namespace": st.just("shop")},
        optional={"annotations": st.just({"note": "text"}), "labels": st.just({"app": "x"})},
    )
    optional = {"status": JSON}
    if junk:
        optional["later"] = JSON
    return st.builds(
        lambda metadata, body, more: {
            "apiVersion": f"{group}/{version}",
            "kind": kind,
            "metadata": metadata,
            **body,
            **more,
        },
        metadata,
        _BODIES[kind](version, junk=junk),
        st.fixed_dictionaries({}, optional=optional),
    )


@st.composite
def journeys(draw, *, junk: bool, stops: int):
    """An object as written at some version of some kind, and `stops` versions of that kind."""
    group, kind, version = draw(st.sampled_from(PAIRS))
    versions = [draw(st.sampled_from(VERSIONS[group, kind])) for _ in range(stops)]
    return draw(written(group, kind, version, junk=junk)), *versions


@st.composite
def crossed(draw):
    """An object in the form of one version, or of two at once, that claims to be of a third; and a version."""
    group, kind, version = draw(st.sampled_from(PAIRS))
    versions = st.sampled_from(VERSIONS[group, kind])
    forms = [
        draw(written(group, kind, draw(versions), junk=draw(st.booleans()))) for _ in range(draw(st.integers(1, 2)))
    ]
    fields = {key: value for form in forms for key, value in form.items()}
    return {**fields, "apiVersion": f"{group}/{version}"}, draw(versions)
