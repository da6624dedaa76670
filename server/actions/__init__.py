"""What can be done, one noun per file. An action returns what it did and tells nobody."""
