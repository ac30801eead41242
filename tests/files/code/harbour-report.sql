-- How long ships of each length stayed, by month, and the change since the month before.
WITH stays AS (
    SELECT
        date_trunc('month', m.arrived) AS month,
        CASE WHEN s.length_m < 50 THEN 'short' WHEN s.length_m < 150 THEN 'middle' ELSE 'long' END AS kind,
        extract(epoch FROM m.left_at - m.arrived) / 3600 AS hours
    FROM mooring AS m
    JOIN ship AS s USING (imo)
    WHERE m.left_at IS NOT NULL
),
monthly AS (
    SELECT month, kind, count(*) AS ships, avg(hours) AS hours
    FROM stays
    GROUP BY month, kind
)
SELECT
    month,
    kind,
    ships,
    round(hours, 1) AS hours,
    round(hours - lag(hours) OVER (PARTITION BY kind ORDER BY month), 1) AS change
FROM monthly
ORDER BY month, kind;
