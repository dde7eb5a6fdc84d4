-- name: battery_per_day
-- question: How low did each device's battery get, and how long was it charged, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, device_id, CAST(at_timezone(ts, :zone) AS date) AS day, min(battery_level) AS lowest_percent,
    round(CAST(count_if(is_charging) AS double) / count(*), 3) AS share_charging
FROM am.device_state_power_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2, 3
ORDER BY user_id, device_id, day
