"""Scripts that answer lines of inputs in a side environment. They are run there, never imported."""
