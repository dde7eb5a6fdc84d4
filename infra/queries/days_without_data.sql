-- name: days_without_data
-- question: On which days is there nothing at all of a kind that comes on other days?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
WITH present AS (
    SELECT DISTINCT user_id, kind, CAST(at_timezone(ts, :zone) AS date) AS day
    FROM am.timeline
    WHERE ts >= :begin AND ts < :end
), kinds AS (
    SELECT DISTINCT user_id, kind FROM present
), days AS (
    SELECT CAST(day AS date) AS day
    FROM UNNEST(sequence(CAST(at_timezone(:begin, :zone) AS date), CAST(at_timezone(:end, :zone) AS date) - INTERVAL '1' DAY, INTERVAL '1' DAY)) AS t (day)
)
SELECT kinds.user_id, kinds.kind, days.day
FROM kinds
CROSS JOIN days
LEFT JOIN present
    ON present.user_id = kinds.user_id AND present.kind = kinds.kind AND present.day = days.day
WHERE present.day IS NULL
ORDER BY 1, 2, 3
