"""The workshop under the book: one room per chapter, and data that flows one way.

Scene -> DualEncoder -> unit vectors -> Gallery -> shortlist -> reranker -> Ranking -> metrics -> figure
"""

__version__ = "0.1.0"
