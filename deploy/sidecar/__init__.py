"""Runs one Envoy beside one application: its bootstrap, its start and end, and the transparent redirect.

Takes the join directory that the control plane wrote for a workload; gives a running sidecar, or the
bootstrap for a bare Envoy. It knows nothing of SMI: everything about the mesh reaches Envoy over xDS.
"""
