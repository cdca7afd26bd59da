"""The files of a generated flow. They are copied, never imported: they run in prompt flow."""
