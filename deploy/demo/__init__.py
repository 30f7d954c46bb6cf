"""The bookstore demo: a whole mesh of real processes on one machine, and a scenario that asserts what it does.

`LocalMesh` runs any directory of objects as processes (control plane, applications, sidecars); the rest of this
package is one particular mesh on it.
"""
