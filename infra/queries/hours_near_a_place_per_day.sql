-- name: hours_near_a_place_per_day
-- question: How many hours a day was I near a certain point?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
-- parameter: longest_gap_s integer = 900 | A longer silence tells of no place.
-- parameter: latitude number | Of the point, degrees north.
-- parameter: longitude number | Of the point, degrees east.
-- parameter: radius_m number = 150 | How near is near.
WITH fixes AS (
    SELECT user_id, device_id, ts, latitude, longitude,
        lead(ts) OVER (PARTITION BY user_id, device_id ORDER BY ts) AS next_ts
    FROM am.device_sensor_gps_raw
    WHERE ts >= :begin AND ts < :end
), stays AS (
    SELECT user_id, ts, latitude, longitude,
        to_unixtime(next_ts) - to_unixtime(ts) AS seconds
    FROM fixes
    WHERE to_unixtime(next_ts) - to_unixtime(ts) <= :longest_gap_s
)
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, round(sum(seconds) / 3600, 2) AS hours
FROM stays
WHERE 2 * 6371008.8 * asin(sqrt(
    power(sin(radians(latitude - :latitude) / 2), 2)
    + cos(radians(latitude)) * cos(radians(:latitude))
    * power(sin(radians(longitude - :longitude) / 2), 2))) <= :radius_m
GROUP BY 1, 2
ORDER BY user_id, day
