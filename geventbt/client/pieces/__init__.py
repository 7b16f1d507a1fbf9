"""What is missing, who is asked for it, and what comes of it: no wire, no sockets."""
