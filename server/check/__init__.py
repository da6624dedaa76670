"""`palabre check`: two people try a running server out, as clients and from outside."""
