"""The executor: calls lent to warm children, and back."""
