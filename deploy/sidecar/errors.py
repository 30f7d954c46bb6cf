"""The errors of a sidecar that a person can cause."""


class SidecarError(Exception):
    """The sidecar cannot start; the message is one line for the person who started it, without a
    traceback.
    """
