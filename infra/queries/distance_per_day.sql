-- name: distance_per_day
-- question: How far did I move, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
-- parameter: longest_gap_s integer = 900 | A longer silence tells of no place.
-- parameter: least_m_s number = 1 | Slower steps are the receiver's noise.
WITH steps AS (
    SELECT user_id, device_id, ts, latitude, longitude,
        lag(ts) OVER w AS last_ts, lag(latitude) OVER w AS last_latitude,
        lag(longitude) OVER w AS last_longitude
    FROM am.device_sensor_gps_raw
    WHERE ts >= :begin AND ts < :end
    WINDOW w AS (PARTITION BY user_id, device_id ORDER BY ts)
), ways AS (
    SELECT user_id, ts, 2 * 6371008.8 * asin(sqrt(
        power(sin(radians(latitude - last_latitude) / 2), 2)
        + cos(radians(latitude)) * cos(radians(last_latitude))
        * power(sin(radians(longitude - last_longitude) / 2), 2))) AS meters,
        to_unixtime(ts) - to_unixtime(last_ts) AS seconds
    FROM steps
    WHERE to_unixtime(ts) - to_unixtime(last_ts) <= :longest_gap_s AND ts > last_ts
)
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, round(sum(meters) / 1000, 2) AS kilometers
FROM ways
WHERE meters / seconds >= :least_m_s
GROUP BY 1, 2
ORDER BY user_id, day
