"""A recorded stream through the same merge and tasks, without a broker; and verify."""
