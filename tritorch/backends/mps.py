"""Apple's GPUs, for programs that ask for them."""


def is_available() -> bool:
    """False."""
    return False


def is_built() -> bool:
    """False."""
    return False
