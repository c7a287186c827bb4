"""What the suites share: a server to test, a way to ask it, and the laws that must hold afterwards."""
