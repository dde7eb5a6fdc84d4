-- name: arrival_delay
-- question: How late do positions arrive, by device?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
SELECT user_id, device_id, count(*) AS fixes,
    round(avg(to_unixtime(received_at) - to_unixtime(ts)) / 60, 1) AS mean_minutes,
    round(max(to_unixtime(received_at) - to_unixtime(ts)) / 60, 1) AS longest_minutes
FROM am.device_sensor_gps_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, device_id
