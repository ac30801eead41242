"""The extractors."""
