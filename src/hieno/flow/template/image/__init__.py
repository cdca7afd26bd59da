"""What an image of a flow holds beside the flow."""
