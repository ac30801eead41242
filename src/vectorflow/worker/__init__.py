"""The worker: claims batches, overlaps their stages under one byte budget, keeps their leases."""
