"""What programs ask the console: River UI's own API, and ours."""
