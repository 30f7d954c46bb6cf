"""What is done to the headers of a request on the server's side, before any rule looks at them, so that the application
gets what was judged and nothing that looks like it.

Source: Envoy's HTTP filter `header_mutation`; RFC 9110, 5.3 and 6.5.
"""

from __future__ import annotations

import json
import re

from protos.envoy.config.core import v3_pb2 as core
from protos.envoy.extensions.filters.http.header_mutation import v3_pb2 as header_mutation
from protos.envoy.extensions.filters.network.http_connection_manager import v3_pb2 as hcm
from protos.envoy.type.matcher import v3_pb2 as matcher
from smi.model import Access
from translators.packing import packed

HEADERS = "headers"
"""The name of the filter, by which the routes of a port find it."""
_WITNESS = "x-forwarded-client-cert"
_FALSE_WITNESS = r"x(?:[_.]forwarded[-_.]client[-_.]|-forwarded(?:[_.]client[-_.]|-client[_.]))cert"
"""`x-forwarded-client-cert` in other spellings: the sidecar vouches for that one, and many applications tell `-` and
`_` not apart."""


def cleaning_filter() -> hcm.HttpFilter:
    """The filter, with what it does to every request; the routes of a port add to it (`cleaning`)."""
    made = header_mutation.HeaderMutation()
    mutations = made.mutations
    mutations.request_mutations.add().remove_on_match.key_matcher.CopyFrom(_like(_FALSE_WITNESS))
    mutations.request_trailers_mutations.add().remove_on_match.key_matcher.CopyFrom(_like(_any_spelling(_WITNESS)))
    return hcm.HttpFilter(name=HEADERS, typed_config=packed(made))


def cleaning(access: Access) -> header_mutation.HeaderMutationPerRoute | None:
    """What is done for the headers that decide who may use a port; None when there are none.

    Their lines are joined with commas, as RFC 9110 allows anybody on the way. Envoy's RBAC is content when *one* line
    matches: with `x-role: guest` and `x-role: admin` a rule for `^guest$` was satisfied, and the application could take
    the other line. Trailers of their names are dropped: no rule sees them, and some servers take them for headers.
    """
    judged = _judged(access)
    if not judged:
        return None
    made = header_mutation.HeaderMutationPerRoute()
    for name in judged:
        option = made.mutations.request_mutations.add().append
        option.header.key = name
        option.header.value = f"%CEL(request.headers[{json.dumps(name)}])%"
        option.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS
        trailers = made.mutations.request_trailers_mutations.add().remove_on_match
        trailers.key_matcher.CopyFrom(_like(_any_spelling(name)))
    return made


def _judged(access: Access) -> list[str]:
    if access.everyone:
        return []
    matches = (match for grant in access.grants for match in grant.http or ())
    # Pseudo headers have one line, or the request is none.
    return sorted({name for match in matches for name, _ in match.headers if not name.startswith(":")})


def _any_spelling(name: str) -> str:
    return "[-_.]".join(map(re.escape, re.split("[-_]", name)))


def _like(regex: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=regex))
