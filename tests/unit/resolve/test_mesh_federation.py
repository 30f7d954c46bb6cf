"""Federation changes whom the mesh believes, and nothing else."""

from dataclasses import replace

from smi.index import DEFAULT_CONFIG, Upsert
from smi.objects import ForeignDomain
from smi.resolve.mesh import MeshModel

_WEST = ForeignDomain("west.example", (b"a root",))


def test_it_is_followed_and_touches_nothing_else():
    mesh = MeshModel()
    change = mesh.apply([Upsert(replace(DEFAULT_CONFIG, federation=(_WEST,)))])
    assert mesh.federation == (_WEST,)
    assert change is not None
    assert not change.settings
    mesh.apply([Upsert(DEFAULT_CONFIG)])
    assert mesh.federation == ()


def test_the_domain_in_force_is_never_a_foreign_one():
    mesh = MeshModel()
    mesh.fix_trust_domain()
    own = ForeignDomain("cluster.local", (b"a root",))
    mesh.apply([Upsert(replace(DEFAULT_CONFIG, trust_domain="other.example", federation=(own, _WEST)))])
    assert mesh.federation == (_WEST,)
    assert {finding.code for finding in mesh.diagnostics()} == {"TL2206"}
