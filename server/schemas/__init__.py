"""Every request a client may send, and every object it may receive: one strict model each."""
