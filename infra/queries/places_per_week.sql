-- name: places_per_week
-- question: Where was I, week by week, and for how long? A place is a square of about 100 m.
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
-- parameter: longest_gap_s integer = 900 | A longer silence tells of no place.
-- parameter: least_hours number = 1 | Shorter stays are left out.
WITH fixes AS (
    SELECT user_id, device_id, ts, latitude, longitude,
        lead(ts) OVER (PARTITION BY user_id, device_id ORDER BY ts) AS next_ts
    FROM am.device_sensor_gps_raw
    WHERE ts >= :begin AND ts < :end
), stays AS (
    SELECT user_id, ts, round(latitude, 3) AS latitude, round(longitude, 3) AS longitude,
        to_unixtime(next_ts) - to_unixtime(ts) AS seconds
    FROM fixes
    WHERE to_unixtime(next_ts) - to_unixtime(ts) <= :longest_gap_s
)
SELECT user_id, CAST(date_trunc('week', CAST(at_timezone(ts, :zone) AS date)) AS date) AS week, latitude, longitude,
    round(sum(seconds) / 3600, 2) AS hours
FROM stays
GROUP BY 1, 2, 3, 4
HAVING sum(seconds) >= :least_hours * 3600
ORDER BY user_id, week, hours DESC, latitude, longitude
