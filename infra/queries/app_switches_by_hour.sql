-- name: app_switches_by_hour
-- question: At which hours do I change from app to app?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, EXTRACT(HOUR FROM at_timezone(ts, :zone)) AS hour_of_day, count(*) AS switches
FROM am.os_events_app_lifecycle_raw
WHERE ts >= :begin AND ts < :end AND event_type IN ('launch', 'foreground')
GROUP BY 1, 2
ORDER BY user_id, hour_of_day
