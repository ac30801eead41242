"""The chunkers."""
