"""Port mapping: asks the router to let connections through to us (PCP, NAT-PMP, UPnP)."""
