-- name: charges_per_device
-- question: How often was each device plugged in, and from which level on average?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
WITH readings AS (
    SELECT user_id, device_id, battery_level, is_charging,
        lag(is_charging) OVER (PARTITION BY user_id, device_id ORDER BY ts) AS was_charging
    FROM am.device_state_power_raw
    WHERE ts >= :begin AND ts < :end
)
SELECT user_id, device_id, count(*) AS charges, round(avg(battery_level), 1) AS mean_percent
FROM readings
WHERE is_charging AND NOT was_charging
GROUP BY 1, 2
ORDER BY user_id, device_id
