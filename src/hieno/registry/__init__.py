"""Model versions with their lineage, and the aliases `champion` and `challenger`."""
