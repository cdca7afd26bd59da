"""What serving is measured by."""
