"""What keeps River's tables moving: the elected leader's loops."""
