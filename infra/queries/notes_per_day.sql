-- name: notes_per_day
-- question: How many notes did I write, by day, and how long are they?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, count(*) AS notes, CAST(sum(length(content)) AS bigint) AS characters
FROM am.digital_notes_raw
WHERE ts >= :begin AND ts < :end
GROUP BY 1, 2
ORDER BY user_id, day
