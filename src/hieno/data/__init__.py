"""From the user's chats to an immutable dataset: read, check, split, replay."""
