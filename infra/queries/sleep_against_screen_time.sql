-- name: sleep_against_screen_time
-- question: Do I sleep less after days with much screen time?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
WITH sleep AS (
    SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day,
        sum(coalesce(duration_s, duration_ms / 1000)) / 3600 AS asleep_h
    FROM am.device_health_sleep_raw
    WHERE ts >= :begin AND ts < :end AND sleep_stage <> 'awake'
    GROUP BY 1, 2
), screen AS (
    SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, sum(duration_s) / 3600 AS screen_h
    FROM am.os_events_app_lifecycle_raw
    WHERE ts >= :begin AND ts < :end AND duration_s IS NOT NULL
    GROUP BY 1, 2
)
SELECT screen.user_id, count(*) AS days, round(avg(screen_h), 2) AS mean_screen_h,
    round(avg(asleep_h), 2) AS mean_asleep_h, round(corr(screen_h, asleep_h), 3) AS correlation
FROM screen
JOIN sleep ON sleep.user_id = screen.user_id AND sleep.day = screen.day + INTERVAL '1' DAY
GROUP BY 1
ORDER BY 1
