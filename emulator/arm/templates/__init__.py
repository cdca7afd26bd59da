"""The language of ARM templates: expressions, functions, and what a template comes to."""
