"""Plug-ins of the extension protocol (BEP 10)."""
