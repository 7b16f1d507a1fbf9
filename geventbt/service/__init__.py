"""A client as a service: its torrents with all that outlives a process, a queue, and a folder for their state."""
