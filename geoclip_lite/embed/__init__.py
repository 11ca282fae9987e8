"""Indexing a folder of pictures, larger than memory.

    with Pipeline(encoder, "photos.index", fields=FIELDS) as pipeline:
        report = embed_folder("photos", pipeline)

    python -m geoclip_lite.embed photos photos.index --encoder ViT-B-32-quickgelu/openai

folder   embed_folder: reads in several threads, encodes, stores; goes on where it was killed
cluster  the same, read and encoded by the machines of a Ray cluster
"""
