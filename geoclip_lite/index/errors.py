"""What can go wrong with an index. Every message names the argument, what came, and what to do about it."""


class VectorStoreError(Exception):
    """The base of all of them."""


class BadInputError(VectorStoreError, ValueError):
    """Something was asked for that no store could do. No store has seen it, nothing has changed."""


class BadFilterError(BadInputError):
    """A filter on an unknown field, of the wrong type, or too large."""


class MismatchError(VectorStoreError, ValueError):
    """What is there is something else: of another encoder or size, with other fields, or no index."""


class DamagedError(VectorStoreError):
    """A file is missing, or does not hold what was written."""


class LockedError(VectorStoreError, TimeoutError):
    """Another process held on to the index for longer than `patience`, or has changed it meanwhile."""


class UnavailableError(VectorStoreError, OSError):
    """A folder that cannot be used; a server that is down, slow, or refuses."""


class MissingPackageError(VectorStoreError, ImportError):
    """The store needs a package that is not installed."""
