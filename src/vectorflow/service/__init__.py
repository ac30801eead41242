"""Use cases, one a file. Extract, plan, embed and retire speak only to ports."""
