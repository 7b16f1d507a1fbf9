"""What carries the bytes of a wire: TCP, and the encryption on top of it (MSE/PE)."""
