"""Routes, one area a file; each file gives a router made from the backend."""
