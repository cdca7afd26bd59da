"""Three trainers on the same chats, measured in one way: `make bench-train`."""
