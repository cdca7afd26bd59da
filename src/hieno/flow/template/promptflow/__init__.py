"""A flow for prompt flow: one node between a chat and the endpoint."""
