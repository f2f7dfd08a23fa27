"""Where the `riverqueue` package has its drivers, so that only the imports change."""
