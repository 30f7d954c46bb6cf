"""`tulle translate`: every Envoy resource of one proxy, offline."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deploy.directory import read_directory
from deploy.sidecar.cli import WorkloadName
from smi.model import WorkloadKey
from translators import names
from xds.redaction import shown
from xds.resource import TypeUrl

_SECTIONS = {
    TypeUrl.CLUSTER: "clusters",
    TypeUrl.ENDPOINT: "endpoints",
    TypeUrl.SECRET: "secrets",
    TypeUrl.EXTENSION: "extension_configs",
    TypeUrl.LISTENER: "listeners",
    TypeUrl.ROUTE: "routes",
}


@click.command(short_help="Print every Envoy resource of one proxy, offline.")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--proxy", required=True, type=WorkloadName(), help="The proxy, as NAMESPACE/WORKLOAD.")
def translate(directory: Path, proxy: tuple[str, str]) -> None:
    """Print, as JSON, every Envoy resource that the proxy of a workload in DIRECTORY is sent.

    Nothing is started and no state is read: secrets, which exist only in a running mesh, are shown as <redacted>.
    """
    reading = read_directory(directory)
    mesh = reading.mesh
    key = WorkloadKey(*proxy)
    if key not in mesh.proxies:
        known = ", ".join(str(each) for each in sorted(mesh.proxies)) or "none"
        raise click.ClickException(f"there is no workload {key} with a sidecar in {directory}; known: {known}")
    sections: dict[str, list[object]] = {section: [] for section in sorted(_SECTIONS.values())}
    for made in reading.configuration.of_proxy(key):
        sections[_SECTIONS[made.type_url]].append(shown(made))
    sections["secrets"] = [
        {"name": name, "secret": "<redacted>"} for name in (names.IDENTITY_SECRET, names.TRUST_SECRET)
    ]
    click.echo(json.dumps({"proxy": str(key), **sections}, indent=2, sort_keys=True))
