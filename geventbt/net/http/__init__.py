"""An HTTP client for programs that need not be monkey-patched: kept connections, ranges, redirects, bounded answers."""
