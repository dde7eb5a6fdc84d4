-- name: gaps_per_stream
-- question: Which streams were silent for long, and when?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: least_hours number = 6 | Shorter silences are left out.
WITH pairs AS (
    SELECT user_id, device_id, source_table, ts,
        lead(ts) OVER (PARTITION BY user_id, device_id, source_table ORDER BY ts) AS next_ts
    FROM am.timeline
    WHERE ts >= :begin AND ts < :end
)
SELECT user_id, device_id, source_table, ts AS silent_from, next_ts AS silent_to,
    round((to_unixtime(next_ts) - to_unixtime(ts)) / 3600, 2) AS hours
FROM pairs
WHERE to_unixtime(next_ts) - to_unixtime(ts) >= :least_hours * 3600
ORDER BY user_id, device_id, source_table, silent_from
