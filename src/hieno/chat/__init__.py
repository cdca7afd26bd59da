"""Chat with an endpoint in the terminal."""

from hieno.chat.session import ask, chat

__all__ = ["ask", "chat"]
