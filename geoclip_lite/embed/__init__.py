"""Bulk embedding: a folder of pictures, larger than memory, into an index.

    with open_index("photos.index", dim=encoder.dim, encoder=encoder.fingerprint, fields=FIELDS) as index:
        report = embed_folder("photos", encoder, index)

    python -m geoclip_lite.embed photos photos.index --encoder ViT-B-32-quickgelu/openai

bulk     embed_folder: reads in several threads, encodes, stores; goes on where it was killed
files    which pictures of a folder are new, and what an encoder looks at in them
cluster  the same on the machines of a Ray cluster
"""

from geoclip_lite.datasets.folder import LeftOut
from geoclip_lite.embed.bulk import DamagedPictureError, Report, embed_folder
from geoclip_lite.embed.cluster import Cluster, ClusterError
from geoclip_lite.embed.files import FIELDS

__all__ = [
    "FIELDS",
    "Cluster",
    "ClusterError",
    "DamagedPictureError",
    "LeftOut",
    "Report",
    "embed_folder",
]
