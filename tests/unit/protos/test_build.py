"""The generated classes are the fast ones, current, and cheap to leave unused."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.internal import api_implementation

from protos.compile import STAMP, compile_protos
from protos.derive import closure, derive
from protos.selection import CUTS

REPOSITORY = Path(__file__).parents[3]


def test_runs_on_upb() -> None:
    assert api_implementation.Type() == "upb"


def test_proto_files_are_what_derive_derives() -> None:
    present = {p.relative_to(REPOSITORY).as_posix(): p.read_text() for p in REPOSITORY.glob("protos/*/**/*.proto")}
    assert derive() == present


def test_every_cut_is_used() -> None:
    _, cut = closure()
    assert set(cut.values()) == set(CUTS.values())


def test_importing_the_package_loads_no_protobuf() -> None:
    code = "import sys, protos; sys.exit('google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A repository with two packages, one importing the other."""
    for name in ("envoy/type/v3.proto", "xds/core/v3.proto"):
        target = tmp_path / "protos" / name
        target.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "protos" / name, target)
    return tmp_path


def test_compiles_only_what_changed(small_tree: Path) -> None:
    modules = compile_protos(small_tree)
    assert {m.name for m in modules} == {"v3_pb2.py", "v3_pb2.pyi"}
    before = [m.stat().st_mtime_ns for m in modules]
    assert [m.stat().st_mtime_ns for m in compile_protos(small_tree)] == before
    source = small_tree / "protos" / "envoy" / "type" / "v3.proto"
    source.write_text(source.read_text() + "message Added {}\n")
    compile_protos(small_tree)
    assert "Added" in source.with_name("v3_pb2.pyi").read_text()


def test_a_missing_module_is_made_again(small_tree: Path) -> None:
    first = compile_protos(small_tree)[0]
    first.unlink()
    compile_protos(small_tree)
    assert first.exists()


def test_a_failure_leaves_the_old_modules(small_tree: Path) -> None:
    modules = compile_protos(small_tree)
    before = {m: m.read_bytes() for m in modules}
    source = small_tree / "protos" / "xds" / "core" / "v3.proto"
    source.write_text("this is no proto file")
    with pytest.raises(RuntimeError, match="protoc failed"):
        compile_protos(small_tree)
    assert {m: m.read_bytes() for m in modules} == before
    assert [p.name for p in (small_tree / "protos").iterdir() if p.name.startswith(".")] == [STAMP]


def test_modules_without_a_source_disappear(small_tree: Path) -> None:
    compile_protos(small_tree)
    source = small_tree / "protos" / "xds" / "core" / "v3.proto"
    source.unlink()
    compile_protos(small_tree)
    assert list(source.parent.iterdir()) == []
