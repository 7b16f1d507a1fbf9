"""The peer protocol without I/O: bytes in, messages out. No gevent, no sockets, no clocks, no files."""
