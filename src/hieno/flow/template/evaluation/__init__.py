"""An evaluation flow: one score a line, and what they come to together."""
