"""Connections: how they come in, what they hear, and in which order."""
