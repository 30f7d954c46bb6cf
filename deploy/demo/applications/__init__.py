"""The applications of the bookstore: small, real, and knowing nothing of a mesh.

Servers answer with their version and with the caller that their sidecar vouches for; clients call in a loop.
"""

LISTENING = "listening"
"""What each of them prints once it accepts connections."""
