-- name: activity_minutes_per_day
-- question: How long did I walk, run or sit, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, activity,
    round(sum(CAST(duration_ms AS double)) / 60000, 2) AS minutes
FROM am.motion_classification_activity
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2, 3
ORDER BY user_id, day, activity
