"""The application: what is configured, how the packages are wired, the command line, the sidecar, the demo."""
