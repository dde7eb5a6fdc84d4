-- name: app_minutes_per_day
-- question: How long did I use which app, by day and device?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, device_id, CAST(at_timezone(ts, :zone) AS date) AS day, coalesce(app_name, app_identifier) AS app,
    round(sum(duration_s) / 60, 1) AS minutes
FROM am.os_events_app_lifecycle_raw
WHERE ts >= :begin AND ts < :end AND duration_s IS NOT NULL
GROUP BY 1, 2, 3, 4
ORDER BY user_id, device_id, day, minutes DESC, app
