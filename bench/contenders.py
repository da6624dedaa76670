"""Who is compared, and what they are called in the report."""

TITLES = {
    "palabre": "Palabre, PostgreSQL",
    "palabre-sqlite": "Palabre, SQLite",
    "write": "`write_limit`",
    "node": "Node, socket.io",
    "node-pg": "Node, socket.io and pg",
    "python-socketio": "python-socketio",
    "django": "Django, Channels and DRF",
}

PEERS = ("node", "node-pg", "python-socketio", "django")
"""Those that have to be installed first."""
