"""What riverbridge shows over HTTP."""
