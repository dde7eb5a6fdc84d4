-- name: events_by_weekday_and_hour
-- question: When in the week does most happen? Monday is 0.
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, date_diff('day', DATE '1970-01-05', CAST(at_timezone(ts, :zone) AS date)) % 7 AS weekday,
    EXTRACT(HOUR FROM at_timezone(ts, :zone)) AS hour_of_day, count(*) AS events
FROM am.timeline
WHERE ts >= :begin AND ts < :end AND NOT is_detail
GROUP BY 1, 2, 3
ORDER BY user_id, weekday, hour_of_day
