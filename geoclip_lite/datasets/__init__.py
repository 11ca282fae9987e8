"""Where scenes come from: two worlds drawn by code, `shapes` and `clevr_like`."""
