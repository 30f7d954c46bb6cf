"""`tulle convert`: what it writes where, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import tulle
from deploy.cli.yaml_text import yaml_text
from smi.documents import parse
from smi.kept import KEPT

Run = Callable[..., Result]

SERVICE = "apiVersion: v1\nkind: Service  # a comment\nmetadata: {name: web}\nspec: {ports: [{port: 0x50}]}\n"
SPLIT = dedent("""\
    apiVersion: split.smi-spec.io/v1alpha4
    kind: TrafficSplit
    metadata: {namespace: shop, name: web}
    spec:
      service: web
      backends:
      - {weight: 90, service: web-v1}
      - {weight: 10, service: web-v2}
    """)
LIMITED = SPLIT + "  matches: [{kind: HTTPRouteGroup, name: beta}]\n"
TARGET = dedent("""\
    apiVersion: access.smi-spec.io/v1alpha1
    kind: TrafficTarget
    metadata: {name: api}
    destination: {kind: ServiceAccount, name: api, port: 8080}
    specs: [{kind: HTTPRouteGroup, name: api}]
    sources: [{kind: ServiceAccount, name: web}]
    """)
UDP = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: UDPRoute\nmetadata: {name: dns}\nspec: {matches: {ports: [53]}}\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `tulle convert` on a file with this content; `{file}` in a message stands for its path."""

    def run(content: str | bytes, *options: str) -> Result:
        path = tmp_path / "mesh.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return CliRunner().invoke(tulle, ["convert", *options, str(path)], prog_name="tulle")

    return run


def refused(done: Result, code: int) -> str:
    """The one line that is said when nothing is written."""
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("Usage: ", "Try 'tulle"))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_an_object_is_written_in_block_style_with_its_keys_in_order_and_numbers_as_texts_quoted(run):
    done = run(SPLIT, "--to", "v1alpha1")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout == dedent("""\
        apiVersion: split.smi-spec.io/v1alpha1
        kind: TrafficSplit
        metadata:
          namespace: shop
          name: web
        spec:
          service: web
          backends:
          - weight: "90"
            service: web-v1
          - weight: "10"
            service: web-v2
        """)


def test_what_the_older_version_cannot_say_is_kept_with_one_line_for_each_object(run):
    done = run(f"{SERVICE}---\n{LIMITED}---\n{SPLIT}", "--to", "v1alpha2")
    line = SERVICE.count("\n") + 2
    warning = f"mesh.yaml:{line}: warning: TrafficSplit shop/web: v1alpha2 cannot say spec.matches"
    assert done.exit_code == 0
    assert warning in done.stderr
    assert done.stderr.count("\n") == 1
    assert KEPT in done.stdout
    again = run(done.stdout, "--to", "v1alpha4")
    assert [*yaml.safe_load_all(again.stdout)] == [*yaml.safe_load_all(f"{SERVICE}---\n{LIMITED}---\n{SPLIT}")]
    assert again.stderr == ""


def test_other_documents_stay_as_they_are_letter_by_letter(run):
    strange = "- a list\n"
    note = "just a text\n"
    unknown = "apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplat\nmetadata: {name: x}\n"
    done = run(
        f"# head\n{SERVICE}---\n{SPLIT}---  # second\n{strange}---\n{note}---\n{unknown}---\n{SERVICE}",
        "--to",
        "v1alpha3",
    )
    assert done.exit_code == 0
    assert done.stdout.startswith(f"# head\n{SERVICE}---\napiVersion: split.smi-spec.io/v1alpha3\n")
    assert done.stdout.endswith(f"---  # second\n{strange}---\n{note}---\n{unknown}---\n{SERVICE}")
    assert "mesh.yaml:20: TrafficSplat of split.smi-spec.io is no kind that is converted" in done.stderr


@pytest.mark.parametrize("version", ["v1alpha4", "latest", "split.smi-spec.io/v1alpha4"])
def test_what_has_its_version_already_keeps_even_its_comments(run, version):
    content = "---\n# why\n" + SPLIT + "# end"
    done = run(content, "--to", version)
    assert done.stdout == content + "\n"


def test_versions_are_given_for_each_group_and_other_groups_stay(run):
    both = f"{SPLIT}---\n{TARGET}"
    versions = [
        (["split.smi-spec.io/v1alpha1"], ["v1alpha1", "v1alpha1"]),
        (["access.smi-spec.io/v1alpha3", "split.smi-spec.io/v1alpha2"], ["v1alpha2", "v1alpha3"]),
        (["latest"], ["v1alpha4", "v1alpha3"]),
        (["v1alpha2", "access.smi-spec.io/latest"], ["v1alpha2", "v1alpha3"]),
    ]
    for wanted, expected in versions:
        done = run(both, *(word for version in wanted for word in ("--to", version)))
        assert [each["apiVersion"].partition("/")[2] for each in yaml.safe_load_all(done.stdout)] == expected


@pytest.mark.parametrize(("kind", "api_version"), [("List", "v1"), ("TrafficSplitList", "split.smi-spec.io/v1alpha4")])
def test_lists_stay_lists(run, kind, api_version):
    items = "".join("- " + text.replace("\n", "\n  ").rstrip() + "\n" for text in (SERVICE, LIMITED, SPLIT))
    content = f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{resourceVersion: ''}}\nitems:\n{items}"
    done = run(content, "--to", "v1alpha2")
    written = yaml.safe_load(done.stdout)
    assert written["kind"] == kind
    assert written["apiVersion"] == api_version.replace("v1alpha4", "v1alpha2")
    assert written["metadata"] == {"resourceVersion": ""}
    assert [item["apiVersion"] for item in written["items"]] == ["v1", *["split.smi-spec.io/v1alpha2"] * 2]
    assert "mesh.yaml:9: warning: TrafficSplit shop/web" in done.stderr
    assert yaml.safe_load(run(done.stdout, "--to", "v1alpha4").stdout) == yaml.safe_load(content)


def test_the_input_may_be_standard_input_and_json():
    content = '{"apiVersion": "split.smi-spec.io/v1alpha1", "kind": "TrafficSplit", "metadata": {"name": "x"}, '
    content += '"spec": {"service": "x", "backends": [{"service": "y", "weight": "1k"}]}}'
    done = CliRunner().invoke(tulle, ["convert", "--to", "latest", "-"], input=content)
    assert yaml.safe_load(done.stdout)["spec"]["backends"] == [{"service": "y", "weight": 1000}]
    assert "<stdin>:1: warning: TrafficSplit x: v1alpha4 cannot say weights as quantities" in done.stderr


def test_an_annotation_that_cannot_be_understood_is_told(run):
    broken = LIMITED.replace("name: web}", f"name: web, annotations: {{{KEPT}: '{{'}}}}")
    done = run(broken, "--to", "v1alpha2")
    assert done.exit_code == 0
    assert f"TrafficSplit shop/web: the annotation {KEPT} cannot be understood; nothing was kept in it" in done.stderr
    assert yaml.safe_load(done.stdout)["spec"]["matches"]


@pytest.mark.parametrize(
    ("content", "options", "code", "says"),
    [
        (
            f"{SPLIT}---\n{TARGET}",
            ["v1alpha4"],
            1,
            ":10: TrafficTarget has no version 'v1alpha4'; it has v1alpha1, v1alpha2",
        ),
        (f"{SPLIT}---\n{UDP}", ["v1alpha2"], 1, ":10: UDPRoute has no version 'v1alpha2'; it has v1alpha4"),
        (SPLIT.replace("v1alpha4", "v1alpha5"), ["v1alpha2"], 1, ":1: TrafficSplit has no version 'v1alpha5'"),
        (SPLIT, ["v2"], 2, "there is no version 'v2'; there are v1alpha1, v1alpha2, v1alpha3, v1alpha4"),
        (SPLIT, ["access.smi-spec.io/v1alpha4"], 2, "there are v1alpha1, v1alpha2, v1alpha3"),
        (SPLIT, ["apps/v1alpha1"], 2, "'apps' is no API group of SMI; there are access.smi-spec.io, specs.smi-spec.io"),
        (SPLIT, ["v1alpha1", "v1alpha2"], 2, "two versions for all groups: v1alpha1 and v1alpha2"),
        (SPLIT, ["split.smi-spec.io/v1alpha1"] * 2, 2, "two versions for split.smi-spec.io"),
        (SPLIT, [], 2, "Missing option '--to'"),
        (f"{SPLIT}---\nkind: [\n", ["v1alpha1"], 1, "mesh.yaml:1"),
        (f"{SPLIT}---\na: 1\na: 2\n", ["v1alpha1"], 1, "mesh.yaml:11: the key 'a' is given twice"),
        (SPLIT.encode() + b"x: \xff\n", ["v1alpha1"], 1, "mesh.yaml:9: the text is not UTF-8"),
        ("a: " + "x" * 9_000_000, ["v1alpha1"], 1, "mesh.yaml:1: the file has more than 8 MiB"),
    ],
    ids=lambda value: str(value)[-40:] if isinstance(value, str) else None,
)
def test_what_cannot_be_done_writes_nothing_but_one_line(run, content, options, code, says):
    assert says in refused(run(content, *(word for option in options for word in ("--to", option))), code)


@pytest.mark.parametrize("path", ["nowhere.yaml", "."])
def test_a_file_that_is_none_is_refused(path):
    refused(CliRunner().invoke(tulle, ["convert", "--to", "latest", path], prog_name="tulle"), 2)


def test_an_empty_file_gives_nothing(run):
    done = run("# nothing\n", "--to", "latest")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ["90", "1e3", "0o17", "017", "0x1F", "1_000", "yes", "off", "~", "null", "2024-01-01", "1:30", "=", "<<", ".5"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4).filter(str.isalnum), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc19e", min_size=1, max_size=3), _VALUES, max_size=4))
def test_what_is_written_is_read_as_the_same_values_by_tulle_and_by_any_other_reader(value):
    text = yaml_text({"kind": "X", "value": value})
    documents, found = parse(text, "x.yaml")
    assert found == []
    assert documents[0].value == {"kind": "X", "value": value}
    assert yaml.safe_load(text)["value"] == value


def test_texts_of_several_lines_are_written_as_such():
    assert yaml_text({"note": "one\ntwo\n"}) == "note: |\n  one\n  two\n"
