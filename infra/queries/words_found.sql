-- name: words_found
-- question: Where does a word stand in what I wrote, copied or said?
-- parameter: begin instant | The first moment looked at.
-- parameter: end instant | The moment before which it ends.
-- parameter: word text | In upper or lower case.
SELECT user_id, ts, kind, title, body
FROM am.timeline
WHERE ts >= :begin AND ts < :end AND strpos(lower(coalesce(body, title)), lower(:word)) > 0
ORDER BY ts, source_table, source_id
