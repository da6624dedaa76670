"""How events travel between the processes that serve one installation.

In one process that is a function call; between several it is Redis. Whatever the bus loses, the
feed finds in the database.
"""

from server.realtime.bus.memory import MemoryBus
from server.realtime.bus.protocol import Bus, Listener, Repairer
from server.realtime.bus.redis import RedisBus

__all__ = ["Bus", "Listener", "MemoryBus", "RedisBus", "Repairer"]
