"""The container: one model behind HTTP, and the same engines for work without a server."""
