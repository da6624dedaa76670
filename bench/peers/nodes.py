"""Stock python-socketio with its Redis manager, one of several nodes: nodes.py PORT REDIS."""

import sys
from typing import Any

import socketio
from aiohttp import web

manager = socketio.AsyncRedisManager(sys.argv[2])
server = socketio.AsyncServer(
    async_mode="aiohttp", cors_allowed_origins="*", client_manager=manager
)


@server.event
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Let everybody into the room they name."""
    await server.enter_room(sid, auth["room"])


@server.on("msg")
async def msg(_sid: str, payload: dict[str, str]) -> dict[str, bool]:
    """Tell the room, on all nodes."""
    await server.emit("msg", payload, room=payload["room"])
    return {"ok": True}


if __name__ == "__main__":
    app = web.Application()
    server.attach(app)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
