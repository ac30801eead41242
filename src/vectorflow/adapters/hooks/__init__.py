"""What calls the addresses that users give."""
