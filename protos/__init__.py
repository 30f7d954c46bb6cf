"""The part of the Envoy v3 API that Tulle speaks, as protobuf (upb) classes.

In: nothing. Out: one module per proto package, named like the package itself, for example
``from protos.envoy.config.cluster import v3_pb2``. The ``*_pb2.py`` files are built from the
``.proto`` files next to them (``python -m protos.compile``; installing does it too).
Importing this package alone loads nothing.
"""
