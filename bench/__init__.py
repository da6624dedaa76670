"""How fast this is, beside what people would otherwise run: make bench."""
