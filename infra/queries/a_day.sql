-- name: a_day
-- question: What happened on one day, kind by kind: how much, from when to when?
-- parameter: day day | Of the owner's clock.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, kind, count(*) AS events, min(ts) AS first_ts, max(ts) AS last_ts
FROM am.timeline
WHERE ts >= CAST(:day AS timestamp with time zone) - INTERVAL '1' DAY
    AND ts < CAST(:day AS timestamp with time zone) + INTERVAL '2' DAY
    AND CAST(at_timezone(ts, :zone) AS date) = :day
GROUP BY 1, 2
ORDER BY user_id, kind
