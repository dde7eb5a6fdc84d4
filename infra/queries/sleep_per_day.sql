-- name: sleep_per_day
-- question: How long did I sleep, day by day? Each stage counts for the day it began on.
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
WITH sleep AS (
    SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day,
        sum(coalesce(duration_s, duration_ms / 1000)) / 3600 AS asleep_h
    FROM am.device_health_sleep_raw
    WHERE ts >= :begin AND ts < :end AND sleep_stage <> 'awake'
    GROUP BY 1, 2
)
SELECT user_id, day, round(asleep_h, 2) AS hours
FROM sleep
ORDER BY user_id, day
