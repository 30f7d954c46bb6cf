from __future__ import annotations

import os
from pathlib import Path

import pytest

from ca.join import remove_join, write_join
from ca.state import StateError

BUNDLE = b"-----BEGIN CERTIFICATE-----\n"


def test_layout_and_modes(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = write_join(tmp_path, "bookstore", "bookstore-v1-0", "token-1", BUNDLE)
    finally:
        os.umask(before)
    assert directory == tmp_path / "join" / "bookstore" / "bookstore-v1-0"
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
        "token": b"token-1",
        "bundle.pem": BUNDLE,
    }
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    for folder in (directory, directory.parent, directory.parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_only_changed_content_is_replaced_and_by_rename(tmp_path: Path) -> None:
    directory = write_join(tmp_path, "a", "b", "token-1", BUNDLE)
    first = {path.name: path.stat().st_ino for path in directory.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    write_join(tmp_path, "a", "b", "token-1", BUNDLE)
    assert {path.name: path.stat().st_ino for path in directory.iterdir()} == first
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == times
    with (directory / "token").open() as reader:
        write_join(tmp_path, "a", "b", "token-2", BUNDLE)
        assert reader.read() == "token-1"  # a rename, so who had it open still reads the old one whole
    assert (directory / "token").read_text() == "token-2"
    assert (directory / "bundle.pem").stat().st_ino == first["bundle.pem"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\x00b", "a\n", "-x", "é", "a" * 254]
)
def test_names_that_are_paths(tmp_path: Path, name: str) -> None:
    for namespace, workload in ((name, "ok"), ("ok", name)):
        with pytest.raises(StateError, match="cannot name a join directory"):
            write_join(tmp_path, namespace, workload, "t", BUNDLE)
        with pytest.raises(StateError, match="cannot name a join directory"):
            remove_join(tmp_path, namespace, workload)
    assert not any(tmp_path.iterdir())


def test_remove(tmp_path: Path) -> None:
    first = write_join(tmp_path, "a", "b", "t", BUNDLE)
    second = write_join(tmp_path, "a", "c", "t", BUNDLE)
    remove_join(tmp_path, "a", "b")
    assert not first.exists()
    assert second.exists()
    remove_join(tmp_path, "a", "b")
    remove_join(tmp_path, "a", "c")
    assert list((tmp_path / "join").iterdir()) == []


def test_a_directory_with_other_files_is_not_removed(tmp_path: Path) -> None:
    directory = write_join(tmp_path, "a", "b", "t", BUNDLE)
    (directory / "notes.txt").touch()
    with pytest.raises(StateError, match="cannot remove"):
        remove_join(tmp_path, "a", "b")
    assert (directory / "notes.txt").exists()


def test_leftovers_of_a_crash_are_cleared(tmp_path: Path) -> None:
    directory = write_join(tmp_path, "a", "b", "t", BUNDLE)
    (directory / ".tulle-new-x").touch()
    write_join(tmp_path, "a", "b", "t", BUNDLE)
    assert sorted(path.name for path in directory.iterdir()) == ["bundle.pem", "token"]


def test_what_others_can_open_is_refused(tmp_path: Path) -> None:
    directory = write_join(tmp_path, "a", "b", "t", BUNDLE)
    (directory / "token").chmod(0o644)
    with pytest.raises(StateError, match=r"chmod 600 .*/token"):
        write_join(tmp_path, "a", "b", "t", BUNDLE)
    (directory / "token").chmod(0o600)
    directory.parent.chmod(0o755)
    with pytest.raises(StateError, match=r"chmod 700 .*/join/a"):
        write_join(tmp_path, "a", "b", "t", BUNDLE)
