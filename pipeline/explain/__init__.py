"""One photo, looked at closely: heads, map, overlay, labels and layer-by-layer rollout as figures."""
