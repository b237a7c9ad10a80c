"""What runs in a child."""
