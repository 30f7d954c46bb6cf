"""SMI and Kubernetes objects as frozen values, the mesh model made of them, and where they come from."""
