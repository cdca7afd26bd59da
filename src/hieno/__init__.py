"""Turn your chats into a small language model of your own that you can talk to."""

__version__ = "0.1.0"
