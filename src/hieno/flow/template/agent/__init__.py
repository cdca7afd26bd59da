"""An agent project of the same behaviour as the flow."""
