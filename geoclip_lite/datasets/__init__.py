"""Where scenes come from.

shapes, clevr_like, things, products   worlds drawn by code
folder                                 pictures of your own
sqid                                   real products, as vectors
official                               published data sets, in their own formats
catalogue, downloads, archives         how these come onto your disk: `python -m geoclip_lite.datasets`
"""
