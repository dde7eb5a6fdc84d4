-- name: events_per_day
-- question: How many events of each kind are there, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, kind, count(*) AS events
FROM am.timeline
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2, 3
ORDER BY user_id, day, kind
