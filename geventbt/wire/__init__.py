"""One connection to one peer, in blocking style."""
