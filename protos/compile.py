"""Compiles every ``.proto`` file of this folder to ``*_pb2.py`` and ``*_pb2.pyi`` next to it.

In: the ``.proto`` files. Out: Python modules for protobuf's upb runtime, replaced all together or not at
all, and only when a source or the compiler changed. Run ``python -m protos.compile``; building the
distribution runs it too, so this module imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

TOPS = ("envoy", "xds")
"""The folders of ``.proto`` files, one per first word of a package name."""

STAMP = ".compiled"
"""Holds the hash of what the present modules were made from; git-ignored like them."""


def compile_protos(repository: Path, *, force: bool = False) -> list[Path]:
    """Bring the generated modules below ``repository/protos`` up to date; return them all."""
    folder = repository / "protos"
    sources = sorted(p for top in TOPS for p in (folder / top).glob("**/*.proto"))
    if not sources:
        raise FileNotFoundError(f"no .proto files below {folder}")
    modules = [p.with_name(f"{p.stem}_pb2{suffix}") for p in sources for suffix in (".py", ".pyi")]
    stamp = folder / STAMP
    wanted = _fingerprint(repository, sources)
    current = stamp.exists() and stamp.read_text() == wanted and all(m.exists() for m in modules)
    if current and not force:
        return modules
    # Inside the folder, so that the final renames stay on one file system and are atomic.
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=folder) as temporary:
        _run_protoc(repository, sources, Path(temporary))
        stamp.unlink(missing_ok=True)
        for module in modules:
            (Path(temporary) / module.relative_to(repository)).replace(module)
    for module in {p for top in TOPS for p in (folder / top).glob("**/*_pb2.py*")} - set(modules):
        if module.suffix in (".py", ".pyi"):
            module.unlink()
    stamp.write_text(wanted)
    return modules


def _fingerprint(repository: Path, sources: list[Path]) -> str:
    digest = hashlib.sha256()
    for name in ("grpcio-tools", "googleapis-common-protos"):
        digest.update(f"{name} {importlib.metadata.version(name)}\0".encode())
    for source in sources:
        digest.update(f"{source.relative_to(repository).as_posix()}\0".encode())
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()


def _run_protoc(repository: Path, sources: list[Path], output: Path) -> None:
    grpc_tools_protos = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={repository}",
        f"--proto_path={grpc_tools_protos}",
        f"--proto_path={_google_apis()}",
        f"--python_out={output}",
        f"--pyi_out={output}",
        *(source.relative_to(repository).as_posix() for source in sources),
    ]
    if code := protoc.main(arguments):
        raise RuntimeError(f"protoc failed with exit code {code}; its messages are above")


def _google_apis() -> Path:
    """Return the include root of googleapis-common-protos."""
    files = importlib.metadata.files("googleapis-common-protos") or []
    status = next(f for f in files if f.as_posix() == "google/rpc/status.proto")
    return Path(str(status.locate())).parent.parent.parent


def main() -> int:
    """Compile, and say how many modules there are now."""
    repository = Path(__file__).resolve().parent.parent
    modules = compile_protos(repository, force="--force" in sys.argv[1:])
    print(f"{len(modules) // 2} proto packages are compiled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
