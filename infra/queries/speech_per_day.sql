-- name: speech_per_day
-- question: How long did people speak around me, and how many words, day by day?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: zone zone = UTC | Of the owner's clock: where a day begins.
SELECT user_id, CAST(at_timezone(ts, :zone) AS date) AS day, round(sum(CAST(duration_ms AS double)) / 60000, 2) AS minutes,
    CAST(sum(length(trim(text)) - length(replace(trim(text), ' ', '')) + 1) AS bigint) AS words
FROM am.media_text_transcribed_words
WHERE ts >= :begin AND ts < :end AND trim(text) <> ''
GROUP BY 1, 2
ORDER BY user_id, day
