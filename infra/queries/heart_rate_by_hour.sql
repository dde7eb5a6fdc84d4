-- name: heart_rate_by_hour
-- question: How fast does my heart beat, by the hour of the day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, EXTRACT(HOUR FROM at_timezone(ts, :zone)) AS hour_of_day,
    round(avg(bpm), 1) AS mean_bpm, min(bpm) AS lowest_bpm, max(bpm) AS highest_bpm
FROM am.device_health_heartrate_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, hour_of_day
