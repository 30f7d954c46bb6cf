"""The private network of the tests of transparent mode, for scenarios too."""

from tests.envoy.transparent.conftest import open_scene, private_network

__all__ = ["open_scene", "private_network"]
