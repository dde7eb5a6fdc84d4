-- name: screen_time_per_day
-- question: How long did I look at a screen, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, round(sum(duration_s) / 3600, 2) AS hours,
    count(DISTINCT app_identifier) AS apps
FROM am.os_events_app_lifecycle_raw
WHERE ts >= :begin AND ts < :end AND duration_s IS NOT NULL
GROUP BY 1, 2
ORDER BY user_id, day
