"""Palabre: a self-hosted Socket.IO messaging server."""

__version__ = "0.1.0"
