-- name: heart_rate_zones_per_day
-- question: How often did my heart beat how fast, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
-- parameter: easy_bpm number = 90 | Up to here it is rest.
-- parameter: hard_bpm number = 120 | From here on it is effort.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, count_if(bpm < :easy_bpm) AS at_rest,
    count_if(bpm >= :easy_bpm AND bpm < :hard_bpm) AS raised, count_if(bpm >= :hard_bpm) AS effort
FROM am.device_health_heartrate_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, day
