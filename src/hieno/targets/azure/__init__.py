"""Azure Machine Learning: the same verbs, with clusters and endpoints that are Azure's."""
