"""Tags on anything. It knows no chats: taggable models register themselves from above. Empty so far."""
