"""The measurements, at sizes where they measure nothing: that they run and tell what they should."""
