"""What can go wrong with rewriting, by name."""

from __future__ import annotations


class RewritingError(ValueError):
    """All of these are one."""


class UnknownWordsError(RewritingError):
    """A text holds words that the policy does not know."""


class UnknownLanguageError(RewritingError):
    """No grammar is there for this language."""


class BadRewriteError(RewritingError):
    """A rewrite without words, or one that does not end."""


class FlatGroupsError(RewritingError):
    """All rewrites of a query earn the same: nothing says which of them is better."""


class SmallGalleryError(RewritingError):
    """More candidates are asked for than there are pictures."""


class CheckpointError(RewritingError):
    """A file of a policy is missing, damaged, or not what its checksum says."""


class MissingExtraError(RewritingError, ImportError):
    """A library that only rewriting with language models needs is not installed."""


class HubError(RewritingError):
    """A language model is not on this machine, and the hub is out of reach or does not have it."""
