"""Base against tuned, on held-out chats and on general questions, through the serving engine."""
