"""The bridge, without a broker."""
