-- name: minutes_covered_per_day
-- question: In how many minutes of each day is there a position?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, count(DISTINCT date_trunc('minute', ts)) AS minutes
FROM am.device_sensor_gps_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, day
