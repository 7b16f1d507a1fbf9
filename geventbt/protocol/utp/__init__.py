"""uTP, a stream over datagrams that yields to other traffic (BEP 29): packets, streams and many of them on a socket."""
