"""The tests: real servers, real sockets, real databases."""
