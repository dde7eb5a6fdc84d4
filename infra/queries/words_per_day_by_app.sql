-- name: words_per_day_by_app
-- question: How many words did I write or copy, by day and app?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
WITH texts AS (
    SELECT user_id, ts, coalesce(source_app, 'unknown') AS app, content_text AS content
    FROM am.digital_clipboard_raw
    WHERE ts >= :begin AND ts < :end AND content_text IS NOT NULL
    UNION ALL
    SELECT user_id, ts, 'notes' AS app, content
    FROM am.digital_notes_raw
    WHERE ts >= :begin AND ts < :end AND content IS NOT NULL
)
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, app,
    CAST(sum(length(trim(content)) - length(replace(trim(content), ' ', '')) + 1) AS bigint) AS words
FROM texts
WHERE trim(content) <> ''
GROUP BY 1, 2, 3
ORDER BY user_id, day, app
