-- name: speech_by_place
-- question: Where is most said? Each sentence belongs to the fix before it.
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: longest_gap_s integer = 900 | A longer silence tells of no place.
WITH fixes AS (
    SELECT user_id, ts, min(latitude) AS latitude, min(longitude) AS longitude
    FROM am.device_sensor_gps_raw
    WHERE ts >= :begin AND ts < :end
    GROUP BY 1, 2
), mixed AS (
    SELECT user_id, ts, ts AS fix_ts, CAST(NULL AS varchar) AS event_id, CAST(NULL AS bigint) AS amount
    FROM fixes
    UNION ALL
    SELECT user_id, ts, NULL AS fix_ts, event_id, CAST(length(trim(text)) - length(replace(trim(text), ' ', '')) + 1 AS bigint) AS amount
    FROM am.media_text_transcribed_words
    WHERE ts >= :begin AND ts < :end
), placed AS (
    SELECT user_id, ts, event_id, amount, max(fix_ts) OVER (
        PARTITION BY user_id ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS fix_ts
    FROM mixed
)
SELECT placed.user_id, round(latitude, 3) AS latitude, round(longitude, 3) AS longitude,
    count(*) AS sentences, CAST(sum(amount) AS bigint) AS words
FROM placed
JOIN fixes ON fixes.user_id = placed.user_id AND fixes.ts = placed.fix_ts
WHERE placed.event_id IS NOT NULL
    AND to_unixtime(placed.ts) - to_unixtime(placed.fix_ts) <= :longest_gap_s
GROUP BY 1, 2, 3
ORDER BY words DESC, latitude, longitude
