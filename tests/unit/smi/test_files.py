"""The file source on real files: what is re-read, what is kept, what counts when two define the same."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi import reading
from smi.diagnostics import ObjectRef
from smi.directory import list_directory
from smi.files import FileSource
from smi.index import Delete, MeshIndex, Upsert


def account(name, labels="{}"):
    return f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {labels}}}\n"


def split(name, weight):
    return (
        f"apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {{name: {name}}}\n"
        f"spec:\n  service: a\n  backends:\n  - service: a\n    weight: {weight}\n"
    )


def join(*documents):
    return "---\n".join(documents)


class Mesh:
    """A directory, its source, and the index that it feeds."""

    def __init__(self, root):
        self.root = root
        self.source = FileSource(root)
        self.index = MeshIndex()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def load(self):
        change = self.source.load()
        assert change.diagnostics == self.source.diagnostics
        self.index.apply(change.events)
        return {(type(event).__name__, event.ref.name) for event in change.events}

    @property
    def accounts(self):
        return [name for _, name in self.index.snapshot().service_accounts]

    @property
    def weight(self):
        (split,) = self.index.traffic_splits.values()
        return split.backends[0].weight

    @property
    def found(self):
        return [(finding.code, str(finding.location or "")) for finding in self.source.diagnostics]


@pytest.fixture
def mesh(tmp_path):
    root = tmp_path / "mesh"
    root.mkdir()
    return Mesh(root)


def test_which_files_are_read(mesh):
    for name in ("a.yaml", "b.yml", "deep/er/c.json"):
        stem = name.rpartition("/")[2][0]
        mesh.write(name, f'{{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {{"name": "{stem}"}}}}')
    for name in (
        ".hidden.yaml",
        ".git/x.yaml",
        "..data/x.yaml",
        ".#a.yaml",
        "#a.yaml#",
        "a.yaml~",
        "a.yaml.swp",
        "x.txt",
    ):
        mesh.write(name, account("never"))
    mesh.load()
    assert mesh.accounts == ["a", "b", "c"]
    assert mesh.found == []
    assert mesh.index.service_accounts["default", "c"].meta.location.file == "deep/er/c.json"


def test_only_changed_files_are_read_again(mesh, monkeypatch):
    mesh.write("a.yaml", account("a"))
    mesh.write("b.yaml", account("b"))
    for file in mesh.root.iterdir():
        os.utime(file, (1, 1))
    mesh.load()
    read = []
    original = FileSource._read
    monkeypatch.setattr(FileSource, "_read", lambda self, file, stamp: (read.append(file), original(self, file, stamp)))
    wait_until_not_racy(mesh)
    mesh.load()
    read.clear()
    assert mesh.load() == set()
    assert read == []
    mesh.write("b.yaml", account("b", "{x: y}"))
    assert mesh.load() == {("Upsert", "b")}
    assert read == ["b.yaml"]


def wait_until_not_racy(mesh):
    while any(stamp.racy for stamp in list_directory(mesh.root).files.values()):
        pass


def test_objects_come_and_go_with_their_files(mesh):
    mesh.write("a.yaml", join(account("a"), account("b")))
    assert mesh.load() == {("Upsert", "a"), ("Upsert", "b")}
    mesh.write("a.yaml", account("a"))
    assert mesh.load() == {("Delete", "b")}
    (mesh.root / "a.yaml").rename(mesh.root / "c.yaml")
    assert mesh.load() == {("Upsert", "a")}
    assert mesh.accounts == ["a"]
    (mesh.root / "c.yaml").unlink()
    assert mesh.load() == {("Delete", "a")}


def test_a_file_is_replaced_by_rename(mesh):
    mesh.write("a.yaml", account("a"))
    mesh.load()
    mesh.write(".new", account("b"))
    (mesh.root / ".new").rename(mesh.root / "a.yaml")
    assert mesh.load() == {("Delete", "a"), ("Upsert", "b")}


def test_equal_content_is_no_change(mesh):
    mesh.write("a.yaml", account("a"))
    mesh.load()
    mesh.write("a.yaml", account("a") + "\n# a comment\n")
    assert mesh.load() == set()


def test_a_broken_document_keeps_what_may_have_been_in_it(mesh):
    mesh.write("a.yaml", join(account("a"), account("b"), account("c")))
    mesh.load()
    mesh.write("a.yaml", join(account("a", "{new: x}"), "apiVersion: v1\nkind: [\n", account("d")))
    assert mesh.load() == {("Upsert", "a"), ("Upsert", "d")}
    assert mesh.accounts == ["a", "b", "c", "d"]
    assert [code for code, _ in mesh.found] == ["TL1003", "TL1008"]
    assert "ServiceAccount default/b, ServiceAccount default/c" in mesh.source.diagnostics[1].message
    mesh.write("a.yaml", join(account("a"), account("d")))
    mesh.load()
    assert mesh.accounts == ["a", "d"]
    assert mesh.found == []


@pytest.mark.parametrize("cut", range(len(split("s", 7)) + 1))
def test_a_half_written_file_never_changes_an_object_for_the_worse(mesh, cut):
    whole = join(account("a"), split("s", 7))
    mesh.write("a.yaml", whole)
    mesh.load()
    start = len(whole) - len(split("s", 7))
    mesh.write("a.yaml", whole[: start + cut])
    mesh.load()
    splits = mesh.index.traffic_splits
    if whole[start : start + cut].strip():
        assert splits["default", "s"].backends[0].weight == 7
    mesh.write("a.yaml", whole)
    mesh.load()
    assert mesh.weight == 7
    assert mesh.found == []


def test_an_invalid_object_keeps_its_last_good_version(mesh):
    mesh.write("a.yaml", join(account("a"), split("s", 10)))
    mesh.load()
    mesh.write("a.yaml", join(account("a"), split("s", -10)))
    assert mesh.load() == set()
    assert mesh.weight == 10
    assert mesh.found == [("TL1201", "a.yaml:12"), ("TL1008", "a.yaml:12")]
    mesh.write("a.yaml", join(account("a", "{x: y}"), split("s", -20)))
    assert mesh.load() == {("Upsert", "a")}
    assert mesh.weight == 10
    mesh.write("a.yaml", join(account("a"), split("s", 20)))
    mesh.load()
    assert mesh.weight == 20
    assert mesh.found == []


def test_an_invalid_object_of_which_no_good_version_is_known_is_missing(mesh):
    mesh.write("a.yaml", join(account("a"), split("s", -10)))
    mesh.load()
    assert mesh.accounts == ["a"]
    assert not mesh.index.traffic_splits
    assert mesh.found == [("TL1201", "a.yaml:12")]


def test_a_misspelt_kind_or_version_keeps_the_object(mesh):
    for old, new in (("TrafficSplit", "TraficSplit"), ("v1alpha4", "v1alpha9"), ("split.smi", "splt.smi")):
        mesh.write("a.yaml", split("s", 10))
        mesh.load()
        mesh.write("a.yaml", split("s", 20).replace(old, new))
        mesh.load()
        assert mesh.weight == 10
        assert "TL1008" in [code for code, _ in mesh.found]


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n  ports:\n  - port: 80\n  - port: {0}\n"


def test_good_parts_are_used_at_first_and_afterwards_only_good_wholes(mesh):
    def ports():
        return [port.port for port in mesh.index.services["default", "a"].ports]

    mesh.write("a.yaml", SERVICE.format("x"))
    mesh.load()
    assert ports() == [80]
    mesh.write("a.yaml", SERVICE.format("81\n  - port: y"))
    mesh.load()
    assert ports() == [80, 81]
    mesh.write("a.yaml", SERVICE.format("82"))
    mesh.load()
    assert ports() == [80, 82]
    mesh.write("a.yaml", SERVICE.format("x"))
    mesh.load()
    assert ports() == [80, 82]
    assert [code for code, _ in mesh.found] == ["TL1108", "TL1008"]


TARGET = (
    "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata: {{name: t}}\nspec:\n"
    "  destination: {{kind: ServiceAccount, name: a}}\n  rules: [{{kind: TCPRoute, name: r}}]\n  sources: {0}\n"
)


def test_access_is_taken_back_by_an_empty_list(mesh):
    mesh.write("a.yaml", TARGET.format("[{kind: ServiceAccount, name: b, namespace: c}]"))
    mesh.load()
    assert mesh.index.traffic_targets["default", "t"].sources
    mesh.write("a.yaml", TARGET.format("[]"))
    mesh.load()
    assert mesh.index.traffic_targets["default", "t"].sources == ()


def test_the_first_definition_by_file_and_line_counts(mesh):
    mesh.write("b.yaml", join(account("x", "{from: b}"), account("x", "{from: b2}")))
    mesh.load()
    assert mesh.index.service_accounts["default", "x"].meta.labels == {"from": "b"}
    assert mesh.found == [("TL1009", "b.yaml:5")]
    mesh.write("a.yaml", account("x", "{from: a}"))
    mesh.load()
    assert mesh.index.service_accounts["default", "x"].meta.labels == {"from": "a"}
    assert mesh.found == [("TL1009", "b.yaml:1"), ("TL1009", "b.yaml:5")]
    assert "a.yaml:1" in mesh.source.diagnostics[0].message
    (mesh.root / "a.yaml").unlink()
    assert mesh.load() == {("Upsert", "x")}
    mesh.write("b.yaml", account("x", "{from: b2}"))
    mesh.load()
    assert mesh.index.service_accounts["default", "x"].meta.labels == {"from": "b2"}
    assert mesh.found == []


def test_what_is_written_now_counts_before_what_is_kept(mesh):
    mesh.write("a.yaml", account("x", "{from: a}"))
    mesh.load()
    mesh.write("a.yaml", "broken: [")
    mesh.write("b.yaml", account("x", "{from: b}"))
    mesh.load()
    assert mesh.index.service_accounts["default", "x"].meta.labels == {"from": "b"}
    assert "TL1009" not in [code for code, _ in mesh.found]


def test_a_directory_that_is_missing_keeps_everything(mesh):
    mesh.write("a.yaml", account("a"))
    mesh.load()
    mesh.root.rename(mesh.root.with_name("away"))
    assert mesh.load() == set()
    assert mesh.found == [("TL1001", "")]
    mesh.root.mkdir()
    mesh.write("b.yaml", account("b"))
    assert mesh.load() == {("Delete", "a"), ("Upsert", "b")}
    assert mesh.found == []


def test_files_that_cannot_be_read_keep_their_objects(mesh):
    mesh.write("a.yaml", account("a"))
    mesh.load()
    (mesh.root / "a.yaml").unlink()
    os.mkfifo(mesh.root / "a.yaml")
    assert mesh.load() == set()
    assert mesh.found == [("TL1001", "a.yaml:1")]
    (mesh.root / "a.yaml").unlink()
    (mesh.root / "a.yaml").symlink_to("nowhere.yaml")
    assert mesh.load() == set()
    (mesh.root / "a.yaml").unlink()
    assert mesh.load() == {("Delete", "a")}


def test_bytes_that_are_not_utf8(mesh):
    (mesh.root / "a.yaml").write_bytes(account("a").encode() + b"---\n# \xff\n")
    mesh.load()
    assert mesh.found == [("TL1003", "a.yaml:5")]


def test_symbolic_links_as_kubernetes_makes_them(mesh):
    """A mounted ConfigMap: the files are links through `..data`, which is exchanged by rename."""
    mesh.write("..v1/a.yaml", account("a"))
    (mesh.root / "..data").symlink_to("..v1")
    (mesh.root / "a.yaml").symlink_to("..data/a.yaml")
    mesh.load()
    assert mesh.accounts == ["a"]
    mesh.write("..v2/a.yaml", account("b"))
    (mesh.root / "..tmp").symlink_to("..v2")
    (mesh.root / "..tmp").rename(mesh.root / "..data")
    assert mesh.load() == {("Delete", "a"), ("Upsert", "b")}


def test_a_link_to_a_directory_above_is_no_endless_way(mesh):
    mesh.write("deep/a.yaml", account("a"))
    (mesh.root / "deep" / "up").symlink_to(mesh.root)
    mesh.load()
    assert mesh.accounts == ["a"]
    assert mesh.found == []


def test_an_index_fed_by_edits_equals_one_fed_at_once(mesh):
    for number in range(6):
        mesh.write("a.yaml", join(*(account(f"a{n}") for n in range(number))) or "# none\n")
        mesh.write(f"{number}.yaml", account("x", f"{{n: '{number}'}}"))
        mesh.load()
    (mesh.root / "0.yaml").unlink()
    mesh.load()
    fresh = Mesh(mesh.root)
    fresh.load()
    assert fresh.index.snapshot() == mesh.index.snapshot()
    assert fresh.found == mesh.found


def test_events_are_upserts_and_deletes(mesh):
    mesh.write("a.yaml", account("a"))
    (event,) = mesh.source.load().events
    assert isinstance(event, Upsert)
    (mesh.root / "a.yaml").unlink()
    assert mesh.source.load().events == (Delete(ObjectRef("ServiceAccount", "default", "a")),)


def test_an_object_that_moves_to_another_line_is_told_again(mesh):
    mesh.write("a.yaml", join(account("a"), account("b"), split("s", 7)))
    mesh.load()
    mesh.write("a.yaml", join(account("a"), "# a comment\n" + account("b"), split("s", 7)))
    change = mesh.source.load()
    assert [(event.ref.name, event.object.meta.location.line) for event in change.events] == [("b", 6), ("s", 10)]
    assert change.events[1].object.backends[0].weight == 7
    assert mesh.load() == set()


def test_an_object_that_moves_to_another_file_is_told_again(mesh):
    mesh.write("b.yaml", account("a"))
    mesh.load()
    (mesh.root / "b.yaml").rename(mesh.root / "a.yaml")
    (event,) = mesh.source.load().events
    assert event.object.meta.location.file == "a.yaml"


def test_only_changed_documents_of_a_file_are_read_again(mesh, monkeypatch):
    def text(changed):
        return join(account("a"), account(changed), "# of c\n" + account("c"), account("b") + "odd: 1\n")

    mesh.write("a.yaml", text("b"))
    mesh.load()
    assert mesh.found == [("TL1009", "a.yaml:14"), ("TL1103", "a.yaml:17")]
    parsed = []
    original = reading.parse_part
    monkeypatch.setattr(reading, "parse_part", lambda part, *others: (parsed.append(part), original(part, *others))[1])
    mesh.write("a.yaml", text("b2"))
    assert mesh.load() == {("Upsert", "b2"), ("Upsert", "b")}
    assert len(parsed) == 2  # the new one, and the one of which there is something to say
    assert mesh.found == [("TL1103", "a.yaml:17")]


@given(st.lists(st.lists(st.sampled_from("abcde!?*"), max_size=6), min_size=2, max_size=4))
@settings(deadline=None, max_examples=60)
def test_whatever_is_edited_the_result_is_that_of_reading_it_anew(edits):
    """Documents that are not read again stand at the right lines, and every event that is needed is given."""
    pieces = {"!": account("a", "{x: y}"), "?": account("b") + "odd: 1\n", "*": "# none\n\n"}
    with TemporaryDirectory() as place:
        mesh = Mesh(Path(place))
        told = {}
        for edit in edits:
            mesh.write("a.yaml", join(*(pieces.get(piece) or account(piece) for piece in edit)) + "\n")
            for event in mesh.source.load().events:
                told[event.ref] = event.object if isinstance(event, Upsert) else None
        fresh = Mesh(Path(place))
        anew = {event.ref: event.object for event in fresh.source.load().events}
    told = {ref: each for ref, each in told.items() if each}
    assert told == anew
    assert all(each.meta.location == anew[ref].meta.location for ref, each in told.items())
    assert fresh.source.diagnostics == mesh.source.diagnostics
