"""Where peers come from: trackers. Addresses are handed on; what becomes of them is the client's business."""
