-- name: time_at_places
-- question: Where was I longest, and on how many days?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
-- parameter: longest_gap_s integer = 900 | A longer silence tells of no place.
-- parameter: most integer = 20 | Places.
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
SELECT user_id, latitude, longitude, round(sum(seconds) / 3600, 2) AS hours,
    count(DISTINCT CAST(at_timezone(ts, :zone) AS date)) AS days
FROM stays
GROUP BY 1, 2, 3
ORDER BY hours DESC, latitude, longitude
LIMIT :most
