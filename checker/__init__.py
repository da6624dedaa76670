"""A town under bad weather: real nodes, real services, every fault, and a judge of what was heard.

It knows the server by its wire and its database only; `checker/nodes.py` starts it, nothing here
imports it but `checker/launch.py`, which runs inside a node.
"""
