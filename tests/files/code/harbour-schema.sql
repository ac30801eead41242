-- Ships, and when they lay at which berth.
CREATE TABLE ship (
    imo integer PRIMARY KEY CHECK (imo BETWEEN 1000000 AND 9999999),
    name text NOT NULL,
    length_m numeric(5, 1) NOT NULL CHECK (length_m > 0)
);

CREATE TABLE berth (
    number integer PRIMARY KEY,
    longest_m numeric(5, 1) NOT NULL
);

CREATE TABLE mooring (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imo integer NOT NULL REFERENCES ship,
    berth integer NOT NULL REFERENCES berth,
    arrived timestamptz NOT NULL,
    left_at timestamptz CHECK (left_at > arrived)
);

CREATE UNIQUE INDEX one_ship_per_berth ON mooring (berth) WHERE left_at IS NULL;

CREATE VIEW free_berth AS
SELECT b.number, b.longest_m
FROM berth AS b
WHERE NOT EXISTS (
    SELECT 1 FROM mooring AS m WHERE m.berth = b.number AND m.left_at IS NULL
);
