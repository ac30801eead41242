-- Run once, when the database server starts on an empty volume: the records get a database of their
-- own, so that an index may have any name, those of the ledger's tables too.
CREATE DATABASE vectors;
\connect vectors
CREATE EXTENSION vector;
